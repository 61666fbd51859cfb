"""Every module that handles a kind of job: importing this registers them all."""

from workers import handles, inventory, orders, products

#: The modules, for whoever looks for a kind.
MODULES = (inventory, orders, products)
#: All handlers, by kind.
HANDLED = handles.registered()
