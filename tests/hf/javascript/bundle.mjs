/* Makes the one file that the upload page loads from the published client: node bundle.mjs TARGET */
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const client = "./node_modules/@huggingface/hub";
const { version } = JSON.parse(readFileSync(`${client}/package.json`, "utf8"));
const made = await build({
  stdin: { contents: `export { commitIter } from "${client}/dist/browser/index.mjs";`, resolveDir: "." },
  alias: { "@huggingface/xetchunk-wasm": "./without_xet.cjs" },
  bundle: true,
  minify: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: `/*! @huggingface/hub ${version}, MIT, without Xet; the licences are in huggingface-hub-LICENSE.txt */` },
  write: false,
  logLevel: "warning",
});
writeFileSync(process.argv[2], made.outputFiles[0].contents);
