"""Facts of the sender's domain: the SPF and DMARC records in DNS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parseaddr
from ipaddress import ip_network

from django.conf import settings as django_settings

from deploytools.errors import Unreachable
from deploytools.secrets.contract import GMAIL_HOST
from deploytools.secrets.plan import SecretState
from deploytools.verification.local_hosts import is_local
from deploytools.verification.mail.facts import SesIdentity, smtp_host
from deploytools.verification.registry import fact

#: Seconds for each name.
TIMEOUT = 3.0

#: DNS lookups with which receivers evaluate a record (RFC 7208, 4.6.4).
MAX_LOOKUPS = 10

#: Domains that receive no email: without a dot, or reserved.
NO_DOMAIN = re.compile(r"[^.]*|(.*\.)?(example\.(com|org|net)|(example|invalid|localhost|test|local))", re.IGNORECASE)

#: Domains of senders whose records the project cannot change.
GMAIL_DOMAINS = {"gmail.com", "googlemail.com"}

#: Mechanisms of SPF, and those of them that need a DNS lookup.
MECHANISMS = {"all", "ip4", "ip6", "include", "a", "mx", "ptr", "exists"}
WITH_LOOKUP = {"include", "a", "mx", "ptr", "exists"}

#: The beginning of an SPF record.
SPF_VERSION = r"v=spf1(\s|$)"

#: A mechanism with its qualifier, name and value, and the policy for all other servers.
MECHANISM = re.compile(r"([+?~-]?)([a-z0-9]+)((?:[:/]).*)?")
ALL = re.compile(r"[+?~-]?all")

#: Qualifiers of the servers that are allowed.
PLUS = {"", "+"}

#: The shortest prefix of a range of mail servers, in bits: providers have up to /14, and /32.
SHORTEST_PREFIX = {"ip6": 24}


@dataclass(frozen=True)
class SpfRecord:
    """The SPF record of the domain in the envelope of messages.

    Attributes:
        records: the SPF records of the domain; a valid domain has one.
        policy: the qualifier of ``all``, which applies to other servers: ``-``, ``~``, ``?`` or ``+``; empty: none.
        included: domains of ``include`` and ``redirect``, also of included records.
        allows_servers: whether the record allows any server other than by ``all``.
        lookups: DNS lookups that an evaluation needs; at most one more than is allowed is counted.
        wide: ranges that a large part of the internet is in, and ``exists`` without a macro, which is all of it.
        deprecated: mechanisms ``ptr``, which receivers are advised to ignore (RFC 7208, 5.5).
        invalid: terms that are not valid, and included domains that do not have exactly one record.
        provider: the domain that the record must include; empty: the service that sends the messages is unknown.
    """

    domain: str
    records: tuple[str, ...]
    policy: str = ""
    included: tuple[str, ...] = ()
    lookups: int = 0
    invalid: tuple[str, ...] = ()
    provider: str = ""
    allows_servers: bool = True
    wide: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = ()


def sender_domain(secret: SecretState) -> str:
    """Return the domain of ``DEFAULT_FROM_EMAIL``; empty: it receives no email, or the SMTP server is local."""
    domain = parseaddr(django_settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2].lower()
    return "" if NO_DOMAIN.fullmatch(domain) or is_local(smtp_host(secret)) else domain


@fact(deadline=60)
def spf_record(secret: SecretState, ses_identity: SesIdentity | None) -> SpfRecord | None:
    """The SPF record; None: receivers read none of this deployment.

    Without a custom MAIL FROM domain, Amazon SES sends with its own domain.
    """
    domain, provider = sender_domain(secret), ""
    if ses_identity:
        domain, provider = ses_identity.mail_from_domain, "amazonses.com"
    elif smtp_host(secret) == GMAIL_HOST:
        provider = "_spf.google.com"
    return read_spf(domain, provider) if domain else None


def read_spf(domain: str, provider: str = "") -> SpfRecord:
    """Return the SPF record of `domain`, with what it includes.

    The policy is the one of the record or of its ``redirect``. ``+all`` of an included record also allows every server.
    """
    records = _records(domain, SPF_VERSION)
    included, invalid, wide, deprecated = dict[str, None](), list[str](), list[str](), list[str]()
    lookups, policy, allows_servers = 0, "", False
    pending = [(record, True) for record in records] if len(records) == 1 else []
    while pending and lookups <= MAX_LOOKUPS:
        record, decides = pending.pop(0)
        terms = record.lower().split()[1:]
        invalid += [term for term in terms if not _is_valid(term)]
        others = [term for term in terms if ALL.fullmatch(term)]
        used = terms[: terms.index(others[0])] if others else terms  # Receivers ignore mechanisms after "all".
        named = [(name, value[1:]) for _, name, value in map(_parse, used)]
        allowed = [(name, value[1:]) for qualifier, name, value in map(_parse, used) if name and qualifier in PLUS]
        wide += [f"{name}{value}" for sign, name, value in map(_parse, used) if sign in PLUS and _is_wide(name, value)]
        deprecated += [f"{name}{value}" for sign, name, value in map(_parse, used) if sign in PLUS and name == "ptr"]
        redirects = [value for term in terms if (value := term.removeprefix("redirect=")) != term and not others]
        lookups += sum(name in WITH_LOOKUP for name, _ in named) + len(redirects)
        qualifier = (others[0].removesuffix("all") or "+") if others else ""
        policy = "+" if qualifier == "+" else policy or (qualifier if decides else "")
        allows_servers |= decides and bool(allowed or any("%" in target for target in redirects))
        targets = [(target, decides) for target in redirects] + [
            (name, False) for kind, name in allowed if kind == "include"
        ]
        for target, follows in targets:
            if not target or "%" in target or target in included:
                continue
            included[target] = None
            found = _records(target, SPF_VERSION)
            if len(found) != 1:
                invalid.append(target)
            else:  # A redirect comes first: an included record can have the same target.
                pending.insert(0 if follows else len(pending), (found[0], follows))
    return SpfRecord(
        domain,
        records,
        policy,
        tuple(included),
        lookups,
        tuple(invalid),
        provider,
        allows_servers,
        tuple(wide),
        tuple(deprecated),
    )


def _parse(term: str) -> tuple[str, str, str]:
    """Return the qualifier, the name and the value of a mechanism; all empty: it is a modifier, or malformed."""
    found = MECHANISM.fullmatch(term)
    return (found[1], found[2], found[3] or "") if found else ("", "", "")


def _is_wide(name: str, value: str) -> bool:
    if name == "exists" and "%{" not in value:  # It is true for every server, or for none.
        return True
    prefix = re.search(r"/(\d+)", value)
    return prefix is not None and int(prefix[1]) < SHORTEST_PREFIX.get(name, 12)


def _is_valid(term: str) -> bool:
    """Return whether a term is a known mechanism with a valid address, or a modifier."""
    _, name, value = _parse(term)
    if re.fullmatch(r"[a-z][a-z0-9_.-]*=.*", term):
        return term not in {"redirect=", "exp="}
    if name in {"ip4", "ip6"}:
        try:
            return ip_network(value[1:], strict=False).version == int(name[-1])
        except ValueError:
            return False
    return name in MECHANISMS and (name not in {"include", "exists"} or len(value) > 1)


@dataclass(frozen=True)
class DmarcRecord:
    """The DMARC record that applies to the sender's domain.

    Attributes:
        domain: the domain that has it: the sender's, or its organizational domain.
        records: the DMARC records of that domain; a valid domain has one.
        is_inherited: whether it is of a domain above the sender's.
    """

    domain: str
    records: tuple[str, ...]
    is_inherited: bool = False

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the record: ``p``, ``sp``, ``pct``, …"""
        pairs = (tag.partition("=") for record in self.records[:1] for tag in record.split(";"))
        return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


@fact(deadline=30)
def dmarc_record(secret: SecretState) -> DmarcRecord | None:
    """The DMARC record, by the DNS tree walk of DMARC; None: there is no domain of the project, see `sender_domain`.

    Without a record of the domain, the one of the organizational domain applies: the record with the fewest labels, or
    the one with ``psd=n``. With ``psd=y``, it is the domain below.
    """
    domain = below = sender_domain(secret)
    if not domain or domain in GMAIL_DOMAINS:
        return None
    none = found = DmarcRecord(domain, ())
    labels = domain.split(".")
    for start in range(len(labels) - 1):
        name = ".".join(labels[start:])
        record = DmarcRecord(name, _records(f"_dmarc.{name}", r"v=DMARC1\s*(;|$)"), start > 0)
        psd = record.tags.get("psd")
        if record.is_inherited and psd == "y":
            found = found if found.domain == below else none
            break
        if record.records:
            found = record
            if psd == "n" or not record.is_inherited:
                break
        below = name
    return found


def _records(name: str, start: str) -> tuple[str, ...]:
    """Return the TXT records of a name that begin with a version; none: also if the name is not valid.

    Raises:
        Unreachable: there was no answer, which is not the same as no record.
    """
    import dns.exception  # It takes long to import, and only these facts need it.
    import dns.name
    import dns.resolver

    try:
        dns.name.from_text(name)
    except dns.exception.DNSException:
        return ()
    try:
        answer = dns.resolver.get_default_resolver().resolve(name, "TXT", lifetime=TIMEOUT, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return ()
    except dns.exception.DNSException as error:
        raise Unreachable(
            f"DNS did not answer for the TXT records of {name} ({type(error).__name__}).",
            hint=f"Check the DNS server of this machine. Run: dig TXT {name}",
        ) from None
    texts = (b"".join(item.strings).decode(errors="replace").strip() for item in answer)
    return tuple(sorted(text for text in texts if re.match(start, text, re.IGNORECASE)))
