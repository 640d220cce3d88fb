"""Valid and invalid values of each field, the guide's two documents, cross-field rules and normalization."""

from __future__ import annotations

import pytest

from deploytools import conf
from deploytools.errors import ConfigurationError
from deploytools.loader import require_keys
from deploytools.secrets.contract import (
    FIELDS,
    PRESETS,
    STAGES,
    Field,
    Problem,
    by_name,
    find_missing,
    find_problems,
    instance_identifier,
    is_placeholder,
    is_sequence,
    normalize,
    preset_fields,
)
from deploytools.secrets.document import Document
from tests.secrets.samples import ENDPOINT, GOOD, GUIDE_STEP_1, GUIDE_STEP_3, SES_PASSWORD, SES_USER, good

TEXT = "must be a string"
EMPTY = "is empty"
SPACE = "has leading or trailing whitespace"
PLACEHOLDER = "is still a placeholder"
TEMPORARY = "is the temporary value until there is a Stripe account"
TEST_MODE = "is a test-mode key"
OTHER_MODE = "does not have the mode of the other Stripe key: one is live, one is test"
NOT_HOST, NOT_ROLE = "is not a host name", "is not a role name of letters, digits, _ and $ (at most 63)"
NUMBER, RANGE = "must be a number", "must be between 1 and 65535"
RDS_REFUSES = 'contains /, ", @, a space or a control character, which RDS does not accept'
NOT_SECRET_KEY = "is not a Stripe secret key or restricted key"
NOT_PUBLISHABLE = "is not a Stripe publishable key"
NOT_WEBHOOK = "is not a Stripe webhook secret"
NOT_GMAIL, NOT_SES = "is not a Gmail app password", "is not an Amazon SES SMTP password"
SK_TEST, PK_TEST = (
    GOOD["stripe_secret_key"].replace("live", "test"),
    GOOD["stripe_publishable_key"].replace("live", "test"),
)
PASSWORD, SECRET_KEY = GOOD["password"], GOOD["django_secret_key"]
PEOPLE = "you@your-domain.com"


def found(document: Document, stage: str = "launch") -> list[tuple[str, str, bool]]:
    return [(item.key, item.message, item.is_warning) for item in find_problems(document, stage=stage)]


@pytest.mark.parametrize("stage", ["launch", "pre-launch"])
def test_valid_document(stage):
    assert found(good(), stage) == []
    assert found(Document({}), stage) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("engine", "postgres"),
        ("engine", "postgresql"),
        ("host", ENDPOINT),
        ("host", "localhost"),
        ("host", "10.0.0.7"),
        ("port", 1),
        ("port", 65_535),
        ("port", "5432"),
        ("username", "django_app"),
        ("username", "App$1"),
        ("username", "a" * 63),
        ("password", PASSWORD),
        ("password", PASSWORD + "!#$%&'()*+,-.:;<=>?[]^_`{|}~"),
        ("dbClusterIdentifier", "startupwebapp-multi-tenant-prod"),
        ("django_secret_key", SECRET_KEY),
        ("stripe_secret_key", "rk_live_" + "a1" * 12),
        ("stripe_secret_key", "sk_live_" + "a" * 255),
        ("stripe_publishable_key", "pk_live_" + "Z" * 99),
        ("email_port", 465),
        ("email_user", "shop@mosaicmeshai.com"),
        ("master_username", "postgres"),
        ("master_password", "short but theirs"),
        ("stripe_webhook_secret", "whsec_" + "a1" * 16),
        ("superuser_username", "admin"),
        ("superuser_email", "admin@mosaicmeshai.com"),
        ("superuser_password", "correct horse"),
        ("superuser_extra", {"date_of_birth": "1990-01-31", "groups": [1]}),
        ("a key of the host's own", {"anything": [1, None]}),
    ],
)
def test_valid_values(key, value):
    assert found(good(**{key: value})) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("engine", "mysql", 'must be "postgres" or "postgresql"'),
        ("engine", None, TEXT),
        ("engine", "postgres\n", SPACE),
        ("host", "", EMPTY),
        ("host", 7, TEXT),
        ("host", "https://db", NOT_HOST),
        ("host", "db:5432", NOT_HOST),
        ("host", "-db", NOT_HOST),
        ("host", " db", SPACE),
        ("host", "db.example.com", PLACEHOLDER),
        ("port", 0, RANGE),
        ("port", 65_536, RANGE),
        ("port", "65536", RANGE),
        ("port", "9" * 5_000, RANGE),
        ("port", -1, NUMBER),
        ("port", True, NUMBER),
        ("port", None, NUMBER),
        ("port", 5432.0, NUMBER),
        ("port", "", NUMBER),
        ("port", " 5432", NUMBER),
        ("port", "5_432", NUMBER),
        ("port", "٥٤٣٢", NUMBER),
        ("port", [5432], NUMBER),
        ("username", "django-app", NOT_ROLE),
        ("username", "1app", NOT_ROLE),
        ("username", "a" * 64, NOT_ROLE),
        ("username", 'a"; DROP', NOT_ROLE),
        ("password", PASSWORD[:31], "has 31 characters, at least 32 are required"),
        ("password", "ab" * 16, "has fewer than 8 different characters"),
        ("password", PASSWORD + "/", RDS_REFUSES),
        ("password", PASSWORD + '"', RDS_REFUSES),
        ("password", PASSWORD + "@", RDS_REFUSES),
        ("password", PASSWORD + " x", RDS_REFUSES),
        ("password", PASSWORD + "\0x", RDS_REFUSES),
        ("password", PASSWORD + "\n", SPACE),
        ("password", 12345678901234567890123456789012, TEXT),
        ("dbClusterIdentifier", "", EMPTY),
        ("dbClusterIdentifier", None, TEXT),
        ("django_secret_key", SECRET_KEY[:49], "has 49 characters, at least 50 are required"),
        ("django_secret_key", "adgj" * 15, "has fewer than 5 different characters"),
        (
            "django_secret_key",
            "django-insecure-" + SECRET_KEY,
            "was generated by startproject (django-insecure-…)",
        ),
        ("stripe_secret_key", GOOD["stripe_publishable_key"], NOT_SECRET_KEY),
        ("stripe_secret_key", "sk_test_secret_key", NOT_SECRET_KEY),
        ("stripe_secret_key", "sk_live_" + "a" * 23, NOT_SECRET_KEY),
        ("stripe_secret_key", "sk_live_" + "a" * 256, NOT_SECRET_KEY),
        ("stripe_secret_key", "sk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY", PLACEHOLDER),
        ("stripe_secret_key", GOOD["stripe_secret_key"] + "\n", SPACE),
        ("stripe_publishable_key", GOOD["stripe_secret_key"], NOT_PUBLISHABLE),
        ("stripe_publishable_key", "pk_test_secret_key", NOT_PUBLISHABLE),
        ("email_host", "smtp.example.com", PLACEHOLDER),
        ("email_host", "smtp gmail", NOT_HOST),
        ("email_port", "smtp", NUMBER),
        ("email_user", "notifications@example.com", PLACEHOLDER),
        ("email_user", "your-email@mosaicmeshai.com", PLACEHOLDER),
        ("email_user", "", EMPTY),
        ("email_password", "REPLACE_WITH_GMAIL_APP_PASSWORD", PLACEHOLDER),
        ("email_password", "", EMPTY),
        ("email_password", None, TEXT),
        ("email_password", "qwvzhtpmxkdrbnfs ", SPACE),
        ("email_password", "qwvz htpm xkdr bnfs", NOT_GMAIL),
        ("email_password", "QWVZHTPMXKDRBNFS", NOT_GMAIL),
        ("email_password", "qwvzhtpmxkdrbnf", NOT_GMAIL),
        ("email_password", SES_PASSWORD, NOT_GMAIL),
        ("master_username", "post gres", NOT_ROLE),
        ("master_password", "", EMPTY),
        ("stripe_webhook_secret", "whsec_", NOT_WEBHOOK),
        ("stripe_webhook_secret", "sec_" + "a" * 32, NOT_WEBHOOK),
        ("superuser_username", "", EMPTY),
        ("superuser_email", "admin", "is not an email address"),
        ("superuser_password", "changeme", PLACEHOLDER),
        ("superuser_extra", "date_of_birth=1990-01-31", "must be a JSON object"),
    ],
)
def test_invalid_values(key, value, message):
    assert found(good(**{key: value})) == [(key, message, False)]


def test_problem_describes_a_valid_value_and_does_not_contain_the_value():
    canary = "canary 7d1f"
    for key in by_name(FIELDS):
        for item in find_problems(good(**{key: canary}), stage="launch"):
            assert item.expected
            assert canary not in repr(item)
    assert find_problems(good(port="x"), stage="launch") == (Problem("port", NUMBER, "5432"),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(value, True) for value in ["PLACEHOLDER", "x_placeholder_y", "PASTE_IT", "REPLACE_ME", "AUTO_GENERATED_9"]],
        *[(value, True) for value in ["changeme", "Change_Me", "change-me", "TODO", "xxxx-xxxx", "your_password"]],
        *[(value, True) for value in ["a@example.com", "example.org", "smtp.example.net"]],
        *[(value, False) for value in ["", "todo list", "counterexample.com", "example.community", PASSWORD, 5, None]],
    ],
)
def test_placeholders(value, expected):
    assert is_placeholder(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(value, True) for value in ["abcdefghijklmnop", "ZYXWVUTSRQPO", "qwertyuiopas", "123456789012"]],
        *[(value, True) for value in ["qwertyuiopasdfghjklzxcvbnm1234567890", "1qaz2wsx3edc4rfv", "Qwerty12345678"]],
        *[(value, False) for value in ["abcdefghijk", "abcdefghijklmnoq", "qwvzhtpmxkdrbnfs", 123456789012, None]],
    ],
)
def test_a_sequence_is_weak_but_can_be_in_use(value, expected):
    assert is_sequence(value) is expected
    if expected:
        assert not is_placeholder(value)
        (problem,) = find_problems(good(superuser_password=value), stage="launch")
        assert (problem.key, problem.message) == ("superuser_password", "is a sequence of the alphabet or the keyboard")
        require_keys(good(password=value), ["password"], name="prod/shop", fix_command="…")


GUIDE_1_PROBLEMS = [
    ("password", PLACEHOLDER, False),
    ("django_secret_key", PLACEHOLDER, False),
    ("stripe_secret_key", PLACEHOLDER, False),
    ("stripe_publishable_key", PLACEHOLDER, False),
    ("email_host", PLACEHOLDER, False),
    ("email_user", PLACEHOLDER, False),
    ("email_password", PLACEHOLDER, False),
]


@pytest.mark.parametrize(
    ("document", "stage", "expected"),
    [
        (GUIDE_STEP_1, "launch", GUIDE_1_PROBLEMS),
        (GUIDE_STEP_1, "pre-launch", GUIDE_1_PROBLEMS),
        *[
            (
                GUIDE_STEP_3,
                stage,
                [
                    ("password", PLACEHOLDER, False),
                    ("django_secret_key", PLACEHOLDER, False),
                    ("stripe_secret_key", TEMPORARY, stage == "pre-launch"),
                    ("stripe_publishable_key", TEMPORARY, stage == "pre-launch"),
                    ("email_user", PLACEHOLDER, False),
                    ("email_password", PLACEHOLDER, False),
                ],
            )
            for stage in ("launch", "pre-launch")
        ],
    ],
    ids=["step 1, launch", "step 1, pre-launch", "step 3, launch", "step 3, pre-launch"],
)
def test_documents_of_the_guide(document, stage, expected):
    assert found(Document(document), stage) == expected


PUBLISHABLE, SECRET = "stripe_publishable_key", "stripe_secret_key"


@pytest.mark.parametrize(
    ("changes", "stage", "expected"),
    [
        ({}, "launch", []),
        (
            {SECRET: SK_TEST, PUBLISHABLE: PK_TEST},
            "launch",
            [(SECRET, TEST_MODE, False), (PUBLISHABLE, TEST_MODE, False)],
        ),
        (
            {SECRET: SK_TEST, PUBLISHABLE: PK_TEST},
            "pre-launch",
            [(SECRET, TEST_MODE, True), (PUBLISHABLE, TEST_MODE, True)],
        ),
        *[
            (
                {PUBLISHABLE: PK_TEST},
                stage,
                [
                    (PUBLISHABLE, TEST_MODE, stage == "pre-launch"),
                    (SECRET, OTHER_MODE, False),
                    (PUBLISHABLE, OTHER_MODE, False),
                ],
            )
            for stage in ("launch", "pre-launch")
        ],
        (
            {SECRET: GOOD[PUBLISHABLE], PUBLISHABLE: GOOD[SECRET]},
            "launch",
            [(SECRET, NOT_SECRET_KEY, False), (PUBLISHABLE, NOT_PUBLISHABLE, False)],
        ),
        ({SECRET: SK_TEST, PUBLISHABLE: 5}, "pre-launch", [(SECRET, TEST_MODE, True), (PUBLISHABLE, TEXT, False)]),
        ({"stripe_webhook_secret": "whsec_test_" + "a" * 20}, "launch", [("stripe_webhook_secret", TEST_MODE, False)]),
    ],
)
def test_stripe_keys(changes, stage, expected):
    assert found(good(**changes), stage) == expected


@pytest.mark.parametrize("value", [7, None, True, ["_test_"], {"_test_": 1}])
def test_custom_key_that_starts_with_stripe_and_is_not_a_string(value):
    own = Field("stripe_settings", lambda _: None, "")
    assert find_problems(Document({"stripe_settings": value}), stage="launch", fields=[own]) == ()


def test_single_stripe_key():
    assert found(Document({SECRET: SK_TEST}), "pre-launch") == [(SECRET, TEST_MODE, True)]


SES = "email-smtp.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("host", "password", "expected"),
    [
        ("smtp.gmail.com", "qwvzhtpmxkdrbnfs", []),
        (SES, SES_PASSWORD, []),
        ("email-smtp.cn-north-1.amazonaws.com.cn", SES_PASSWORD, []),
        (SES, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY", [("email_password", NOT_SES, False)]),
        (SES, "qwvzhtpmxkdrbnfs", [("email_password", NOT_SES, False)]),
        ("mail.mosaicmeshai.com", "anything at all", []),
        ("smtp.example.com", "abc", [("email_host", PLACEHOLDER, False)]),
    ],
)
def test_mail_password_fits_the_host(host, password, expected):
    user = SES_USER if host.startswith("email-smtp") else GOOD["email_user"]
    assert found(good(email_host=host, email_user=user, email_password=password)) == expected


@pytest.mark.parametrize(
    ("host", "user", "password", "message"),
    [
        (SES, GOOD["email_user"], SES_PASSWORD, "is not an Amazon SES SMTP user name"),
        ("smtp.gmail.com", SES_USER, "qwvzhtpmxkdrbnfs", "is not the address of a Google account"),
    ],
)
def test_mail_user_of_another_provider(host, user, password, message):
    (problem,) = find_problems(good(email_host=host, email_user=user, email_password=password), stage="launch")
    assert (problem.key, problem.message, problem.other_key) == ("email_user", message, "email_host")


@pytest.mark.parametrize(
    ("document", "presets", "expected"),
    [
        (good(), PRESETS, ()),
        (good(engine=None, dbClusterIdentifier=None), PRESETS, ()),
        (Document({}), ["database"], ("host", "port", "username", "password")),
        (Document({}), ["django"], ("django_secret_key",)),
        (Document({}), ["stripe"], ("stripe_secret_key", "stripe_publishable_key")),
        (Document({}), ["email"], ("email_host", "email_port", "email_user", "email_password")),
        (good(host="", port=None), PRESETS, ("host", "port")),
    ],
)
def test_find_missing(document, presets, expected):
    for stage in STAGES:
        assert find_missing(document, stage=stage, fields=preset_fields(presets)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"email_host": "relay.internal"}, ()),
        ({"email_host": "relay.internal", "email_user": "", "email_password": None}, ()),
        ({"email_host": "relay.internal", "email_user": "me"}, ("email_password",)),
        ({"email_host": "relay.internal", "email_password": "x"}, ("email_user",)),
        ({"email_host": "smtp.gmail.com"}, ("email_user", "email_password")),
        ({"email_host": SES}, ("email_user", "email_password")),
        ({"email_host": "smtp.example.com"}, ("email_user", "email_password")),
        ({}, ("email_host", "email_user", "email_password")),
    ],
)
def test_relay_needs_no_login(changes, expected):
    document = Document({"email_port": 25} | changes)
    assert find_missing(document, stage="launch", fields=preset_fields(["email"])) == expected


def test_keys_of_a_preset_that_is_not_chosen_are_unrecognized():
    stored = good(stripe_secret_key=SK_TEST, email_password="qwvz htpm xkdr bnfs")
    fields = preset_fields(["database", "django"])
    assert find_problems(stored, stage="launch", fields=fields) == ()
    assert normalize(stored, stored, fields=fields) == stored


RDS = "abc123.us-east-1.rds.amazonaws.com"


@pytest.mark.parametrize(
    ("values", "identifier"),
    [
        ({"host": f"shop-prod.{RDS}"}, "shop-prod"),
        ({"host": f"SHOP-prod.{RDS}.cn."}, "shop-prod"),
        ({"host": f"shop-prod.{RDS}", "dbClusterIdentifier": "stored"}, "stored"),
        ({"host": f"shop-prod.{RDS}", "dbClusterIdentifier": ""}, "shop-prod"),
        ({"host": f"shop.proxy-{RDS}"}, ""),
        ({"host": f"shop.cluster-{RDS}"}, ""),
        ({"host": "db.shop.net"}, ""),
        ({}, ""),
    ],
)
def test_the_identifier_of_the_instance(values, identifier):
    assert instance_identifier(Document(values)) == identifier


def test_presets():
    assert set(PRESETS) == set(conf.PRESETS)
    with pytest.raises(ConfigurationError, match="There is no preset 'mail'"):
        preset_fields(["database", "mail"])


@pytest.mark.parametrize(
    ("given", "stored", "expected"),
    [
        ({}, {"a": 1}, {}),
        ({"port": "5432"}, {}, {"port": 5432}),
        ({"port": "5432"}, {"port": 5432}, {"port": 5432}),
        ({"port": 5432}, {"port": "5432"}, {"port": "5432"}),
        ({"port": "5433"}, {"port": "5432"}, {"port": 5433}),
        ({"port": "0587"}, {}, {"port": 587}),
        ({"port": "x"}, {"port": 5432}, {"port": "x"}),
        ({"port": True}, {"port": 1}, {"port": True}),
        ({"port": 5432}, {"port": None}, {"port": 5432}),
        ({"email_port": "587"}, {}, {"email_port": 587}),
        ({"superuser_username": "5432", "own": "1"}, {}, {"superuser_username": "5432", "own": "1"}),
        (
            {"email_host": "smtp.gmail.com", "email_password": "qwvz-htpm-xkdr-bnfs"},
            {},
            {"email_host": "smtp.gmail.com", "email_password": "qwvzhtpmxkdrbnfs"},
        ),
        (
            {"email_password": "qwvz htpm\nxkdr bnfs "},
            {"email_host": "smtp.gmail.com"},
            {"email_password": "qwvzhtpmxkdrbnfs"},
        ),
        ({"email_password": "a-b c"}, {"email_host": "mail.mosaicmeshai.com"}, {"email_password": "a-b c"}),
        ({"email_password": "a-b c"}, {}, {"email_password": "a-b c"}),
        (
            {"email_host": SES, "email_password": "a-b"},
            {"email_host": "smtp.gmail.com"},
            {"email_host": SES, "email_password": "a-b"},
        ),
        ({"email_password": None}, {"email_host": "smtp.gmail.com"}, {"email_password": None}),
    ],
)
def test_normalize(given, stored, expected):
    assert normalize(Document(given), Document(stored)) == Document(expected)
    assert normalize(Document(expected), Document(stored | expected)) == Document(expected)
