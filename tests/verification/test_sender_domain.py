"""The SPF and DMARC records of the sender's domain, from a real DNS server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping

import django
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from deploytools.errors import Unreachable
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.verification.mail import sender_domain
from deploytools.verification.mail.facts import SesIdentity, ses_identity
from deploytools.verification.mail.sender_domain import DmarcRecord, dmarc_record, read_spf, spf_record

GOOGLE, TEN = "_spf.google.com", " ".join(f"include:n{number}.net" for number in range(10))
ZONE: Mapping[str, tuple[str, ...]] = {
    "shop.net": ("google-site-verification=x", "v=spf1 include:spf.shop.net ip4:192.0.2.0/24 ~all"),
    "spf.shop.net": ("v=spf1 include:amazonses.com ?all",),
    "amazonses.com": ("v=spf1 ip4:199.255.192.0/22 -all",),
    "gmail.com": (f"v=spf1 redirect={GOOGLE}",),
    GOOGLE: ("v=spf1 ip6:2001:4860:4000::/36 ~all",),
    "two.net": ("v=spf1 -all", "V=SPF1 a mx"),
    "typo.net": ("v=spf1 includes:amazonses.com ip4:300.1.1.1 ip4:2001:db8::1 include:gone.net +all",),
    "many.net": (f"v=spf1 a {TEN} -all",),
    "loop.net": ("v=spf1 include:loop.net mx all",),
    "closed.net": ("v=spf1 ?mx -all",),
    "minus.net": ("v=spf1 a -include:amazonses.com ~all",),
    "after.net": ("v=spf1 ~all include:amazonses.com mx",),
    "wide.net": ("v=spf1 include:shop.net ip4:0.0.0.0/1 ip6:2000::/3 a/0 -ip4:192.0.0.0/2 ip4:52.100.0.0/14 -all",),
    "macro.net": ("v=spf1 exists:%{i}.macro.net include:%{d}.x exp=e.macro.net",),
    "exists.net": ("v=spf1 exists:shop.net -exists:two.net -all",),
    "ptr.net": ("v=spf1 mx ptr:ptr.net ?ptr -all",),
    "none.net": ("v=spf10 -all",),
    "long.net": ("v=spf1 " + "ip4:192.0.2.1 " * 40 + "-all",),
    "open.net": ("v=spf1 a +all",),
    "chain.net": (f"v=spf1 include:{GOOGLE} redirect=open.net",),
    "both.net": ("v=spf1 include:closed.net redirect=closed.net",),
    "far.net": (f"v=spf1 redirect=far2.net include:{GOOGLE}",),
    "far2.net": ("v=spf1 redirect=closed.net",),
    "parent.net": ("v=spf1 mx include:open.net -all",),
    "shut.net": ("v=spf1 include:closed.net",),
    "labels.net": (f"v=spf1 include:foo..bar.net include:{'x' * 64}.net redirect=",),
    **{f"n{number}.net": ("v=spf1 ip4:192.0.2.1",) for number in range(10)},
    "_dmarc.shop.net": ("v=DMARC1; p=reject; sp=none",),
    "_dmarc.two.net": ("v=DMARC1; p=reject", "v=DMARC1;p=none"),
    "_dmarc.none.net": ("v=DMARC10; p=reject",),
    "_dmarc.co.uk": ("v=DMARC1; p=reject; psd=y",),
    "_dmarc.b.shop.net": ("v=DMARC1; p=none",),
    "_dmarc.eu.group.net": ("v=DMARC1; p=reject; psd=n",),
    "_dmarc.group.net": ("v=DMARC1; p=none",),
    "_dmarc.b.shop.co.uk": ("v=DMARC1; p=reject",),
}


def respond(query: bytes) -> bytes:
    request = dns.message.from_wire(query)
    response = dns.message.make_response(request)
    response.flags |= dns.flags.RA
    name = request.question[0].name.to_text(omit_final_dot=True).lower()
    if name.startswith("broken."):
        response.set_rcode(dns.rcode.SERVFAIL)
    elif name not in ZONE:
        response.set_rcode(dns.rcode.NXDOMAIN)
    else:
        texts = (" ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200)) for text in ZONE[name])
        response.answer.append(dns.rrset.from_text_list(request.question[0].name, 60, "IN", "TXT", list(texts)))
    return response.to_wire()


@pytest.fixture(autouse=True)
def server(monkeypatch) -> Iterator[None]:
    """A DNS server on a port of this machine. It does not answer questions about ``silent.net``."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            query, client = listening.recvfrom(4096)
            if query == b"stop":
                return
            if b"\x06silent" not in query:
                listening.sendto(respond(query), client)

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], listening.getsockname()[1]
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"stop", listening.getsockname())
    thread.join(10)
    listening.close()


@pytest.mark.parametrize(
    ("domain", "number", "policy", "included", "lookups", "invalid"),
    [
        ("shop.net", 1, "~", ("spf.shop.net", "amazonses.com"), 2, ()),
        ("gmail.com", 1, "~", (GOOGLE,), 1, ()),
        ("two.net", 2, "", (), 0, ()),
        (
            "typo.net",
            1,
            "+",
            ("gone.net",),
            1,
            ("includes:amazonses.com", "ip4:300.1.1.1", "ip4:2001:db8::1", "gone.net"),
        ),
        ("many.net", 1, "-", tuple(f"n{number}.net" for number in range(10)), 11, ()),
        ("loop.net", 1, "+", ("loop.net",), 4, ()),
        ("macro.net", 1, "", (), 2, ()),
        ("closed.net", 1, "-", (), 1, ()),
        ("minus.net", 1, "~", (), 2, ()),
        ("after.net", 1, "~", (), 0, ()),
        ("long.net", 1, "-", (), 0, ()),
        ("chain.net", 1, "+", ("open.net", GOOGLE), 3, ()),
        ("both.net", 1, "-", ("closed.net",), 3, ()),
        ("far.net", 1, "-", ("far2.net", GOOGLE, "closed.net"), 4, ()),
        ("parent.net", 1, "+", ("open.net",), 3, ()),
        ("shut.net", 1, "", ("closed.net",), 2, ()),
        ("labels.net", 1, "", ("foo..bar.net", f"{'x' * 64}.net"), 3, ("redirect=", "foo..bar.net", f"{'x' * 64}.net")),
        ("none.net", 0, "", (), 0, ()),
        ("gone.net", 0, "", (), 0, ()),
    ],
)
def test_spf_records(domain, number, policy, included, lookups, invalid):
    found = read_spf(domain)
    assert len(found.records) == number
    assert (found.policy, found.included, found.lookups, found.invalid) == (policy, included, lookups, invalid)
    assert found.allows_servers is (number == 1 and domain not in {"closed.net", "after.net"})


def test_spf_record_for_a_large_part_of_the_internet():
    assert read_spf("wide.net").wide == ("ip4:0.0.0.0/1", "ip6:2000::/3", "a/0")
    assert read_spf("exists.net").wide == ("exists:shop.net",)
    assert read_spf("macro.net").wide == ()


def test_spf_record_with_ptr():
    assert read_spf("ptr.net").deprecated == ("ptr:ptr.net",)
    assert read_spf("wide.net").deprecated == ()


def stored(host: str) -> SecretState:
    return SecretState("prod", "us-east-1", "v1", Document({"email_host": host}), {})


@pytest.mark.parametrize(
    ("sender", "host", "identity", "domain", "provider"),
    [
        ("Shop <orders@shop.net>", "relay.shop.net", None, "shop.net", ""),
        ("orders@GMAIL.com", "smtp.gmail.com", None, "gmail.com", GOOGLE),
        (
            "orders@shop.net",
            "x",
            SesIdentity("shop.net", True, None, mail_from_domain="two.net"),
            "two.net",
            "amazonses.com",
        ),
        ("orders@shop.net", "x", SesIdentity("shop.net", True, None), "", ""),
        ("webmaster@localhost", "relay.shop.net", None, "", ""),
        ("orders@shop.net", "localhost", None, "", ""),
        ("orders@shop.net", "127.0.0.2", None, "", ""),
        ("orders@shop.net", "", None, "shop.net", ""),
    ],
)
def test_whose_spf_record_receivers_read(settings, sender, host, identity, domain, provider):
    settings.DEFAULT_FROM_EMAIL = sender
    found = spf_record(stored(host), identity)
    assert (found.domain, found.provider) == (domain, provider) if found else not domain


def test_the_host_in_the_settings_precedes_the_one_in_the_secret(settings):
    def use(host: str) -> None:
        backend = "django.core.mail.backends.smtp.EmailBackend"
        if django.VERSION >= (6, 1):
            settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": {"host": host}}}
        else:
            settings.EMAIL_BACKEND, settings.EMAIL_HOST = backend, host

    settings.DEFAULT_FROM_EMAIL = "orders@shop.net"
    use("smtp.gmail.com")
    found = spf_record(stored("relay.shop.net"), None)
    assert found and found.provider == GOOGLE
    use("relay.shop.net")
    found = spf_record(stored("smtp.gmail.com"), None)
    assert found and not found.provider
    assert ses_identity(stored("email-smtp.us-east-1.amazonaws.com")) is None


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("a@shop.net", DmarcRecord("shop.net", ZONE["_dmarc.shop.net"])),
        ("a@eu.mail.shop.net", DmarcRecord("shop.net", ZONE["_dmarc.shop.net"], is_inherited=True)),
        ("a@b.shop.net", DmarcRecord("b.shop.net", ZONE["_dmarc.b.shop.net"])),
        ("a@a.b.shop.net", DmarcRecord("shop.net", ZONE["_dmarc.shop.net"], is_inherited=True)),
        ("a@a.eu.group.net", DmarcRecord("eu.group.net", ZONE["_dmarc.eu.group.net"], is_inherited=True)),
        ("a@a.b.shop.co.uk", DmarcRecord("a.b.shop.co.uk", ())),
        ("a@two.net", DmarcRecord("two.net", ZONE["_dmarc.two.net"])),
        ("a@none.net", DmarcRecord("none.net", ())),
        ("a@shop.co.uk", DmarcRecord("shop.co.uk", ())),
        ("webmaster@localhost", None),
        ("orders@gmail.com", None),
    ],
)
def test_dmarc_records(settings, sender, expected):
    settings.DEFAULT_FROM_EMAIL = sender
    assert dmarc_record(stored("relay.shop.net")) == expected
    assert dmarc_record(stored("localhost")) is None


@pytest.mark.parametrize(("name", "reason"), [("broken.net", "NoNameservers"), ("silent.net", "LifetimeTimeout")])
def test_no_answer_is_not_an_absent_record(monkeypatch, name, reason):
    monkeypatch.setattr(sender_domain, "TIMEOUT", 0.2)
    with pytest.raises(Unreachable) as raised:
        read_spf(name)
    assert str(raised.value) == f"DNS did not answer for the TXT records of {name} ({reason})."
    assert raised.value.hint == f"Check the DNS server of this machine. Run: dig TXT {name}"


def test_a_resolver_without_a_configuration(monkeypatch, tmp_path):
    def unconfigured() -> dns.resolver.Resolver:
        return dns.resolver.Resolver(filename=str(tmp_path / "resolv.conf"))

    monkeypatch.setattr(dns.resolver, "get_default_resolver", unconfigured)
    with pytest.raises(Unreachable):
        read_spf("shop.net")
