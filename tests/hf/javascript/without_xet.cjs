/* In place of the Xet chunker: the upload page sends files by LFS, so that the bundle needs none. */
