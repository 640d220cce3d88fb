"""A tenant's database with the states that a plan for it is made from. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from deploytools.tenants.options import DesiredState, Tenant
from deploytools.tenants.state import DatabaseState, ServerState


@dataclass(frozen=True)
class TargetDatabase:
    """The database of one tenant.

    Attributes:
        database: it exists, or this is its state after the plan's first step.
    """

    tenant: Tenant
    database: DatabaseState
    desired: DesiredState
    state: ServerState

    @property
    def role(self) -> str:
        """The role that owns it in the desired state."""
        return self.desired.role_of(self.tenant)

    @property
    def master(self) -> str:
        return self.state.master.name

    @property
    def transferring_roles(self) -> tuple[str, ...]:
        """The roles whose objects each run transfers to the owner, because the application works with them.

        Until ``--finish`` these are the previous owners; at any time they are the separate logins of the owner.
        """
        owners = (self.desired.previous_role_of(self.tenant), *self.database.former_owners)
        logins = (login for owner in owners for login in self.state.logins_of(owner))
        roles = dict.fromkeys((*self.state.logins_of(self.role)[1:], *logins))
        return tuple(role for role in roles if role not in (self.role, self.master))

    @property
    def previous_roles(self) -> tuple[str, ...]:
        """The existing roles that keep access through membership in the owner until ``--finish``.

        That is the owner under the other ``ISOLATION``, and the owner before an adoption. A superuser needs no
        membership, and a role that the owner is a member of cannot have one.
        """
        roles, former_owners = self.state.roles, self.database.former_owners
        memberships = roles[self.role].memberships if self.role in roles else frozenset()
        excluded = {*self.state.logins_of(self.role), self.master, *memberships}
        formers = [name for name in former_owners if name in roles and not roles[name].is_superuser]
        previous = [name for name in (self.desired.previous_role_of(self.tenant),) if name in roles]
        return tuple(dict.fromkeys([*previous, *(name for name in formers if name not in excluded)]))

    @property
    def previous_members(self) -> tuple[str, ...]:
        """The previous roles that still have access, as members of the owner."""
        return tuple(role for role in self.previous_roles if self.is_member(role))

    @property
    def previous_owners(self) -> tuple[str, ...]:
        """The roles that own the database, or objects in it, and should not.

        In an incomplete database, that is any other role. In a complete one the master user keeps the objects that it
        created there, for example extensions, unless the application role cannot use its tables (a restored dump).
        """
        database, master = self.database, self.master
        concerned = dict.fromkeys([database.owner, *self.transferring_roles, *database.reassigning_from])
        if database.is_incomplete:
            concerned |= dict.fromkeys(database.objects)
        elif not database.is_managed or database.owner == master or (self.desired.adopt and database.unusable):
            concerned[master] = None
        owners = [role for role in concerned if role == database.owner or role in database.objects]
        return tuple(role for role in owners if role != self.role and (role != master or role in database.objects))

    def is_member(self, role: str) -> bool:
        """Return whether `role` is a member of the owner."""
        return role in self.state.roles and self.role in self.state.roles[role].memberships
