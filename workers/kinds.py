"""Every module that handles a kind of job: importing this registers them all."""

from workers import handles, inventory, media, notifications, ops, orders, products

#: The modules, for whoever looks for a kind.
MODULES = (inventory, media, notifications, ops, orders, products)
#: All handlers, by kind.
HANDLED = handles.registered()
