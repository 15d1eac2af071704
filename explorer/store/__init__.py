"""The one way to a store: opens it read-only, checks its version, and holds every query, a module for each subject."""

from explorer.store.database import SCHEMA_VERSION as SCHEMA_VERSION
from explorer.store.database import contract as contract
from explorer.store.errors import StoreError as StoreError
from explorer.store.store import Store as Store
