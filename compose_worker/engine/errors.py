"""The one error the engine raises for what its caller can mend."""


class ComposeError(Exception):
    """A fault in the input of a composition.

    `code` is stable and meant for programs; `message` is one sentence for people that says what is wrong and how to mend it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
