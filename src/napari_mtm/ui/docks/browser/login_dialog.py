"""Log in to a server: user and password, or a token."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_mtm.errors import MtmError
from napari_mtm.progress import Progress
from napari_mtm.recording.servers import OPENALYX, SIGN_UP, LoginNeeded, login
from napari_mtm.ui.qt.jobs import Jobs
from napari_mtm.ui.qt.parts import text

_SPACING = 8


class LoginDialog(QDialog):
    """Asks for a login, tries it off the Qt thread, and is accepted once it is valid."""

    def __init__(self, address: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Log in")
        self.setMinimumWidth(420)
        self.address = address
        self._jobs = Jobs(self)
        self.user = QLineEdit(objectName="user")
        self.password = QLineEdit(objectName="password")
        self.token = QLineEdit(objectName="token")
        for line in (self.password, self.token):
            line.setEchoMode(QLineEdit.EchoMode.Password)
        self.token.setPlaceholderText("instead of user and password")
        self.said = text("login_said", lines=2)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self.ok = self.buttons.button(QDialogButtonBox.StandardButton.Ok)
        self.ok.setText("Log in")
        cancel = self.buttons.button(QDialogButtonBox.StandardButton.Cancel)
        cancel.setAutoDefault(False)  # else Return would cancel while the other is disabled
        self._lay_out()
        for line in (self.user, self.password, self.token):
            line.textChanged.connect(self._on_text)
        self.buttons.accepted.connect(self._log_in)
        self.buttons.rejected.connect(self.reject)
        self._on_text()

    def done(self, result: int) -> None:
        """Stop asking, forget what was typed, and close."""
        self._jobs.cancel()
        for line in (self.password, self.token):
            line.clear()
        super().done(result)

    def _lay_out(self) -> None:
        about = QLabel(f"<b>{self.address}</b>", objectName="server")
        about.setTextFormat(Qt.TextFormat.RichText)
        form = QFormLayout()
        form.setVerticalSpacing(_SPACING)
        form.addRow("User", self.user)
        form.addRow("Password", self.password)
        form.addRow("Token", self.token)
        advice = QLabel(_advice(self.address), objectName="login_help")
        advice.setWordWrap(True)
        advice.setOpenExternalLinks(True)
        layout = QVBoxLayout(self)
        layout.addWidget(about)
        layout.addLayout(form)
        layout.addWidget(advice)
        layout.addWidget(self.said)
        layout.addWidget(self.buttons)

    def _on_text(self) -> None:
        self.ok.setEnabled(bool(self.token.text() or (self.user.text() and self.password.text())))

    def _log_in(self) -> None:
        address, token = self.address, self.token.text().strip()
        user, password = self.user.text().strip(), self.password.text()

        def work(progress: Progress) -> str:
            if token:
                return login(address, token=token)
            return login(address, user=user, password=password)

        self.said.setText("Asking the server…")
        self.ok.setEnabled(False)
        self._jobs.run("logging in", work, lambda _: self.accept(), self._on_refused)

    def _on_refused(self, error: Exception) -> None:
        if isinstance(error, LoginNeeded):
            self.said.setText(error.what)  # how to log in is here to see
        else:
            self.said.setText(str(error) if isinstance(error, MtmError) else repr(error))
        self._on_text()


def _advice(address: str) -> str:
    if address.rstrip("/") == OPENALYX:
        return (
            f'No account yet? <a href="{SIGN_UP}">Sign up</a>, it is free. Who signed up with '
            f'ORCiD has no password: copy the token from <a href="{OPENALYX}/me">your page</a>.'
        )
    return "The login is kept where ONE keeps it, so that it is asked once."
