"""Every type of event that the features declare: importing this makes them known."""

from domain.accounts import events as accounts
from domain.discounts import events as discounts
from domain.inventory import events as inventory
from domain.jobs import events as jobs
from domain.media import events as media
from domain.notifications import events as notifications
from domain.orders import events as orders
from domain.products import events as products

#: One for each feature that has any.
DECLARED = (accounts, discounts, inventory, jobs, media, notifications, orders, products)
