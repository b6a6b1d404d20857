"""Security events in the Common Event Format: the plug-in and the signatures that applications share."""

AUTH_FAILURE = "AuthFail"
"""Somebody could not be authenticated."""

CAPTCHA_FAILURE = "CaptchaFail"
"""A captcha was not solved."""

OVERRIDE_FAILURE = "InvalidAdmin"
"""Somebody tried to act as an administrator without being one."""

ACCOUNT_LOCKED = "AccountLockout"
"""An account was locked."""

PASSWD_RESET_CLR = "PasswordResetCleared"
"""A password reset was taken back."""

__all__ = ["ACCOUNT_LOCKED", "AUTH_FAILURE", "CAPTCHA_FAILURE", "OVERRIDE_FAILURE", "PASSWD_RESET_CLR"]
