"""What can go wrong, in the language of the shop. HTTP statuses live in `api/errors.py`."""

from datetime import timedelta
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


class InvalidTransition(Conflict):
    """The thing cannot go from its `state` to the one that is `wanted`; `allowed` has those that it can."""

    code = "invalid_transition"
    message = "This cannot follow on its state."


class StaleRevision(DomainError):
    """The thing was edited since the caller read it; nothing was changed."""

    code = "stale_revision"
    message = "This was edited since it was read. Read it again."


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
    """Raised by a verb to be run again after `seconds`, without it counting as a failure's trace.

    With `patience` that may go on for so long; else for as long as the ledger's setting says.
    """

    def __init__(self, reason: str, *, seconds: float = 1.0, patience: timedelta | None = None) -> None:
        self.seconds = seconds
        self.patience = patience
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


class NotForSale(Conflict):
    """The product was for sale and is no longer. `skus` says which."""

    code = "not_for_sale"
    message = "This is no longer for sale."


class UnknownLocation(Invalid):
    """No such location, or one that was deleted."""

    code = "unknown_location"
    message = "There is no location with this code."


class LocationTaken(Conflict):
    """The code is, or was, that of another location: movements name it for good."""

    code = "location_taken"
    message = "There is, or was, another location with this code."


class LocationInUse(Conflict):
    """A location that has units, or the default one, is not deleted."""

    code = "location_in_use"
    message = "A location that has stock, and the default one, cannot be deleted."


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


class OrderNotPayable(InvalidTransition):
    """Only a reserved order whose hold has not expired can be paid."""

    message = "The order cannot be paid in its state."


class OrderNotCancellable(InvalidTransition):
    """Only a pending or reserved order can be cancelled, and a paid one whose money did not come."""

    message = "The order cannot be cancelled in its state."


class NothingLeft(Conflict):
    """Every unit of the order is refunded already, or sent."""

    code = "nothing_left"
    message = "Nothing of the order is left for this."


class TooManyUnits(Conflict):
    """More units than the order has left. `lines` says of which SKU."""

    code = "too_many_units"
    message = "The order does not have so many units left."


class RefundRefused(Conflict):
    """The payment provider did not pay the money back; it can be asked again, as another refund."""

    code = "refund_refused"
    message = "The payment provider refused the refund."


class NoticeMismatch(Conflict):
    """What a payment provider told does not fit the payment; somebody has to look at it."""

    code = "notice_mismatch"
    message = "The notice does not fit the payment."


class WebhookRefused(Unauthenticated):
    """The signature or the time of a webhook call is wrong, or there is no secret to tell."""

    code = "webhook_refused"
    message = "The signature cannot be accepted."


class PaymentDeclined(Conflict):
    """The provider declined; the order stays reserved until its hold ends."""

    code = "payment_declined"
    message = "The payment provider declined."


class CartNotFound(NotFound):
    """The cart does not exist, has expired, or the token is not its own."""

    code = "cart_not_found"
    message = "There is no such cart."


class CartEmpty(Conflict):
    """There is nothing in the cart to order."""

    code = "cart_empty"
    message = "The cart is empty."


class CartChanged(Conflict):
    """The cart is not as it was, or prices of its lines are not; nothing was ordered."""

    code = "cart_changed"
    message = "The cart, or a price in it, has changed. Look at it again."


class CartLimit(Invalid):
    """The cart would hold more than carts may. `limit` names which, `most` how many."""

    code = "cart_limit"
    message = "A cart does not hold so much."


class QuoteNotFound(NotFound):
    """The quote does not exist, or is not the caller's."""

    code = "quote_not_found"
    message = "There is no such quote."


class QuoteExpired(Conflict):
    """The quote is too old. `changes` says what would be different now."""

    code = "quote_expired"
    message = "The quote has expired."


class QuoteChanged(Conflict):
    """What was quoted costs something else now. `changes` says what."""

    code = "quote_changed"
    message = "Prices have changed since the quote was made."


class QuoteUsed(Conflict):
    """The quote was ordered; a quote is good for one order."""

    code = "quote_used"
    message = "The quote was ordered already."


class NoShippingTo(Invalid):
    """There is no rate for the country, the currency or the weight; `reason` says which."""

    code = "no_shipping_to"
    message = "This cannot be sent there."


class DiscountNotFound(NotFound):
    """There is no such discount."""

    code = "discount_not_found"
    message = "There is no such discount."


class DiscountInvalid(Invalid):
    """What the discount says cannot be. `errors` names each of the rules that it breaks."""

    code = "discount_invalid"
    message = "The discount breaks a rule."


class DiscountRefused(Conflict):
    """A code that the order names does not apply. `refusals` has each with its `reason`."""

    code = "discount_refused"
    message = "A discount code does not apply."


class CodeTaken(Conflict):
    """A discount with this code exists; upper and lower case are the same."""

    code = "code_taken"
    message = "There is a discount with this code."


class EmailTaken(Conflict):
    """An account with this address exists."""

    code = "email_taken"
    message = "There is an account with this email address."


class RefreshTokenReused(Unauthenticated):
    """A refresh token was shown that had been replaced: somebody has a copy. The session is over."""

    code = "refresh_token_reused"
    message = "This refresh token was used before. Its session has been ended: log in again."


class SessionRequired(Forbidden):
    """Only somebody who has logged in may do this; an API key may not."""

    code = "session_required"
    message = "This needs somebody who has logged in, not an API key."


class TooManyRequests(DomainError):
    """The limit of an account, address or key is reached. `retry_after` is in seconds."""

    code = "too_many_requests"
    message = "There were too many requests. Try again later."


class TooManyKeys(Conflict):
    """The account has as many live API keys as one may have."""

    code = "too_many_api_keys"
    message = "The account has as many API keys as it may have. Revoke one first."


class KeyNotRotatable(Conflict):
    """The API key was rotated before, is revoked, or has expired."""

    code = "api_key_not_rotatable"
    message = "This API key was rotated before, or has ended."


class OpsAccount(Conflict):
    """Accounts of ops people are made and changed on the server only."""

    code = "ops_account"
    message = "An ops account is changed on the server only."


class SigningKeySet(Conflict):
    """The signing keys are a setting; they are rotated there."""

    code = "signing_key_set"
    message = "The signing keys are a setting. Rotate them there."


class SkuTaken(Conflict):
    """A product with this SKU exists."""

    code = "sku_taken"
    message = "There is a product with this SKU."


class SlugTaken(Conflict):
    """Another product has this slug."""

    code = "slug_taken"
    message = "There is a product with this slug."


class OptionsTaken(Conflict):
    """Two variants of a product have the same options. `skus` says which."""

    code = "options_taken"
    message = "A product has one variant for each combination of options."


class UnknownProductType(Invalid):
    """No product type has this name. `known` has those that there are."""

    code = "unknown_product_type"
    message = "There is no product type with this name."


class InvalidAttributes(Invalid):
    """The attributes are not those of the product's type. `errors` names fields."""

    code = "invalid_attributes"
    message = "The attributes are not those of the product's type."


class InvalidQuery(Invalid):
    """The question to the catalogue breaks rules. `errors` names each of them."""

    code = "invalid_query"
    message = "The query breaks rules of the search."


class ServiceAway(Unavailable):
    """A service that a process cannot start without is away."""

    code = "service_away"
    message = "A service that this process needs is away."


class UnreadableFile(Invalid):
    """A file is not of the form that it was said to be. `line` and `reason` say where and why."""

    code = "unreadable_file"
    message = "The file cannot be read."


class TooManyErrors(Invalid):
    """An import was given up: more rows were refused than a report can hold."""

    code = "too_many_errors"
    message = "Too many rows were refused."


class NotReady(Conflict):
    """What was asked for is not there yet, or will never be. `state` is its job's."""

    code = "not_ready"
    message = "This is not ready."
