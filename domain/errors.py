"""What can go wrong, in the language of the shop. HTTP statuses live in `api/errors.py`."""

from typing import Any, ClassVar


class DomainError(Exception):
    """An answer, not a fault: the request was understood and cannot be done.

    `code` is stable and part of the API. `detail` holds what a client can act on; it is JSON.
    """

    code: ClassVar[str] = "domain_error"
    message: ClassVar[str] = "The request cannot be done."

    def __init__(self, **detail: Any) -> None:
        self.detail = detail
        super().__init__(self.message)

    def __str__(self) -> str:
        """The message with its detail, for logs and job errors."""
        facts = ", ".join(f"{name}={value!r}" for name, value in self.detail.items())
        return f"{self.message} ({facts})" if facts else self.message


class NotFound(DomainError):
    """There is no such thing, or it is not the caller's."""

    code = "not_found"
    message = "There is no such thing."


class Conflict(DomainError):
    """The thing is not in a state that allows this."""

    code = "conflict"
    message = "The state of the thing does not allow this."


class Invalid(DomainError):
    """The input is well-formed but cannot be accepted."""

    code = "invalid"
    message = "The input cannot be accepted."


class Unauthenticated(DomainError):
    """No valid credentials."""

    code = "unauthenticated"
    message = "Credentials are missing, wrong or expired."


class Forbidden(DomainError):
    """The caller's scopes do not allow this."""

    code = "forbidden"
    message = "The account's scopes do not allow this."


class Unavailable(DomainError):
    """A service that is needed is away; the same request may work later."""

    code = "unavailable"
    message = "A service that this needs is away. Try again."


class TryAgain(Exception):
    """Raised by a verb to be run again after `seconds`, without it counting as a failure's trace."""

    def __init__(self, reason: str, *, seconds: float = 1.0) -> None:
        self.seconds = seconds
        super().__init__(reason)


class IdempotencyKeyReused(DomainError):
    """The key was used before, with another body."""

    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used before with another body."


class JobFinished(Conflict):
    """The job has ended; it cannot be cancelled."""

    code = "job_finished"
    message = "The job has ended."


class JobRunning(Conflict):
    """A worker has begun the job; it may have had its effect, and its end has to be awaited."""

    code = "job_running"
    message = "A worker has begun this job."


class JobNotReplayable(Conflict):
    """Only dead, failed and cancelled jobs can be replayed."""

    code = "job_not_replayable"
    message = "Only dead, failed and cancelled jobs can be replayed."


class OutOfStock(Conflict):
    """There are fewer units than wanted. `lines` says of which SKU."""

    code = "out_of_stock"
    message = "There is not enough stock."


class UnknownSku(Invalid):
    """No such product."""

    code = "unknown_sku"
    message = "There is no product with this SKU."


class BelowReserved(Conflict):
    """An adjustment would take stock that is held for orders."""

    code = "below_reserved"
    message = "The adjustment would take more than what is available."


class CurrencyMismatch(Invalid):
    """An order has one currency."""

    code = "currency_mismatch"
    message = "All lines of an order have one currency."


class OrderTooLarge(Invalid):
    """The order's gross is past what sums are kept exact for."""

    code = "order_too_large"
    message = "The order's total is too large."


class HoldNotFound(NotFound):
    """The reservation does not exist, or is not the caller's."""

    code = "reservation_not_found"
    message = "There is no such reservation."


class HoldEnded(Conflict):
    """The reservation has expired, or was released or used."""

    code = "reservation_ended"
    message = "The reservation has ended."


class HoldMismatch(Invalid):
    """The order's lines are not the reservation's."""

    code = "reservation_mismatch"
    message = "The order's lines are not those of the reservation."


class OrderNotFound(NotFound):
    """The order does not exist, or is not the caller's."""

    code = "order_not_found"
    message = "There is no such order."


class OrderNotPayable(Conflict):
    """Only a reserved order whose hold has not expired can be paid."""

    code = "order_not_payable"
    message = "The order cannot be paid in its state."


class OrderNotCancellable(Conflict):
    """Only a pending or reserved order can be cancelled."""

    code = "order_not_cancellable"
    message = "The order cannot be cancelled in its state."


class PaymentDeclined(Conflict):
    """The provider declined; the order stays reserved until its hold ends."""

    code = "payment_declined"
    message = "The payment provider declined."


class EmailTaken(Conflict):
    """An account with this address exists."""

    code = "email_taken"
    message = "There is an account with this email address."


class SkuTaken(Conflict):
    """A product with this SKU exists."""

    code = "sku_taken"
    message = "There is a product with this SKU."


class ServiceAway(Unavailable):
    """A service that a process cannot start without is away."""

    code = "service_away"
    message = "A service that this process needs is away."
