"""The HTML report in a browser: filters, copying, printing, accessibility; it makes no request."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from deploytools.reports.html import command_in, tenant_table, to_html
from deploytools.verification.findings import Change, Report, Status
from tests.browser import chromium
from tests.findings import change
from tests.reports.samples import CAUSE, PROTECT, sample, without_secret

VERDICT = "UNKNOWN: 1 check could not be evaluated, 2 failed, 1 warning, 1 waived, 1 not applicable"
SELECT = "return [...document.querySelectorAll(arguments[0])]"
NOT_SHOWN = "return getComputedStyle(arguments[0]).display === 'none'"


class Page:
    """A report in the browser."""

    def __init__(self, driver: webdriver.Chrome, report: Report, file: Path) -> None:
        self.driver = driver
        file.write_text(to_html(report), encoding="utf-8")
        driver.get(file.as_uri())

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def shown(self, selector: str) -> list[str]:
        return list(self.run(f"{SELECT}.filter(e => e.checkVisibility()).map(e => e.innerText)", selector))

    def filter(self, status: str = "", words: str = "") -> None:
        self.one(f'[data-show="{status}"]').click()
        field = self.one("#words")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(words or Keys.DELETE)

    def emulate(self, media: str = "", scheme: str = "light") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def page(driver: webdriver.Chrome, tmp_path: Path) -> Page:
    made = Page(driver, sample(), tmp_path / "report.html")
    made.emulate()
    driver.set_window_size(1200, 900)
    return made


@pytest.mark.slow
def test_the_verdict_is_the_heading(page):
    assert page.one("h1").text == VERDICT
    assert page.shown(".counts li") == [
        "2 fail", "1 unknown", "1 warn", "1 waived", "16 pass", "1 not applicable",
    ]  # fmt: skip
    assert "StartupWebApp.settings_production · stage pre-launch · AWS account 123456789012" in page.one(".about").text
    assert page.driver.title == f"{VERDICT} · verify_deploy"


@pytest.mark.slow
def test_problems_come_first(page):
    headings = page.shown("#findings h2")
    assert headings[0] == "Problems"
    assert [heading.split(" · ")[0] for heading in headings[1:]] == ["Step 5", "Step 6", "Step 9", "Security Checklist"]
    statuses = [article.get_attribute("data-status") for article in page.all("#findings section:first-child article")]
    assert statuses == ["fail", "fail", "unknown", "warn"]


def test_no_request_is_made_and_no_other_script_runs(page):
    page.run("const s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s)")
    page.run("document.querySelector('h1').setAttribute('style', 'color: red')")
    assert page.run("return [window.pwned, performance.getEntriesByType('resource').length]") == [None, 0]
    assert page.run("return getComputedStyle(document.querySelector('h1')).color") != "rgb(255, 0, 0)"
    text = page.run("return document.querySelector('meta[http-equiv]').content")
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[^ ]+'; script-src 'sha256-[^ ]+'; base-uri 'none'; form-action 'none'",
        text,
    )
    violations = [entry["message"] for entry in page.driver.get_log("browser")]
    assert len(violations) == 2, "only the two that this test caused"
    assert "window.pwned = 1" in page.one("[id='order.odd'] .evidence").text


def test_the_table_shows_each_tenant_and_check(page):
    assert page.shown("tbody th") == ["tenant_002", "tenant_001", "tenant_003"]
    assert page.one("tbody tr").text.split() == ["tenant_002", *["✓", "pass"] * 4, "✗", "fail"]
    cells = page.run("return [...document.querySelectorAll('tbody td i')].map(e => e.textContent)")
    assert (len(cells), cells.count("fail"), cells.count("pass")) == (15, 1, 14)
    page.one("thead a[href='#databases.migrated']").click()
    assert page.run("return document.querySelector(':target h3').innerText").endswith(
        "2 migrations are not applied fail"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "words", "titles", "rows"),
    [
        ("", "", 13, 3),
        ("fail", "", 2, 1),
        ("unknown", "", 1, 0),
        ("not-applicable", "", 1, 0),
        ("", "TENANT_002", 5, 1),
        ("fail", "tenant_002", 1, 1),
        ("", "deletion protection", 1, 0),
        ("", "nothing of that", 0, 0),
    ],
)
def test_filters(page, status, words, titles, rows):
    page.filter(status, words)
    assert len(page.shown("article")) == titles
    assert len(page.shown("tbody tr")) == rows
    assert page.one("#shown").text == f"{titles} of 13 findings shown"
    assert page.shown("#nothing") == ([] if titles else ["Nothing matches the filters."])
    assert [button.get_attribute("data-show") for button in page.all('[aria-pressed="true"]')] == [status]
    assert all(page.run("return [...arguments[0].querySelectorAll('article')].some(e => !e.hidden)", section)
               for section in page.all("#findings > section:not([hidden])"))  # fmt: skip


def test_a_command_can_be_copied(page):
    button = page.one("[id='rds.deletion-protection'] .copy")
    assert page.one("[id='rds.deletion-protection'] code").text == PROTECT
    assert page.one("[id='rds.deletion-protection'] .hint").text == "Run (no downtime):"
    button.click()
    WebDriverWait(page.driver, 20, poll_frequency=0.05).until(lambda _: button.text == "Copied")
    page.one("#words").send_keys(Keys.CONTROL, "v")
    assert page.one("#words").get_attribute("value") == PROTECT


def test_without_scripts_everything_is_visible(page, tmp_path):
    text = (tmp_path / "report.html").read_text()
    (tmp_path / "bare.html").write_text(re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL))
    page.driver.get((tmp_path / "bare.html").as_uri())
    assert len(page.shown("article")) == 13
    assert page.shown("form, .copy") == []


@pytest.mark.slow
def test_the_printed_page_is_complete_and_has_no_buttons(driver, tmp_path):
    page = Page(driver, sample(60), tmp_path / "report.html")
    page.emulate(media="print")
    assert all(page.run(NOT_SHOWN, element) for element in page.all("#filters, .copy, .skip"))
    assert page.run("return getComputedStyle(document.querySelector('.scroll')).overflow") == "visible"
    assert page.run("return getComputedStyle(document.querySelector('thead')).display") == "table-header-group"
    page.emulate()
    assert not page.one("details").get_attribute("open")
    pdf = base64.b64decode(driver.print_page())
    assert page.one("details").get_attribute("open"), "folded names would not be printed"
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3


@pytest.mark.slow
def test_five_hundred_tenants(driver, tmp_path):
    page = Page(driver, sample(500), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 500_000
    assert len(page.all("tbody tr")) == 500
    assert len(page.all("article")) == 13
    page.filter("", "tenant_321")
    assert page.shown("tbody th") == ["tenant_321"]
    page.filter("fail")
    assert page.shown("tbody th") == ["tenant_002"]


CONTRAST = """
const [rgb, light] = [
  (text) => text.match(/[\\d.]+/g).map(Number),
  (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
           return .2126 * r + .7152 * g + .0722 * b; }];
const background = (e) => { for (; e; e = e.parentElement) {
  const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
  return [255, 255, 255]; };
return [...document.querySelectorAll("body *")]
  .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && e.checkVisibility())
  .map((e) => { const [a, b] = [light(rgb(getComputedStyle(e).color)), light(background(e))].sort((x, y) => y - x);
                return [(a + .05) / (b + .05), e.tagName + "." + e.className]; })
  .sort((x, y) => x[0] - y[0])[0];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_in_light_and_dark_mode(page, scheme):
    page.emulate(scheme=scheme)
    background = page.run("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    ratio, where = page.run(CONTRAST)
    assert ratio >= 4.5, where


def test_accessibility(page):
    assert page.one("html").get_attribute("lang") == "en"
    levels = page.run("return [...document.querySelectorAll('h1, h2, h3')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.all("table caption") and page.all("th:not([scope])") == []
    assert page.one("#shown").get_attribute("aria-live") == "polite"
    assert all(button.accessible_name for button in page.all("button"))
    assert page.one("#words").accessible_name.strip() == "Find"
    assert page.run("return [...document.querySelectorAll('[id]')].length") == len(
        set(page.run("return [...document.querySelectorAll('[id]')].map(e => e.id)"))
    )


def test_it_fits_a_narrow_window(page):
    page.driver.set_window_size(500, 800)
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    ("hint", "command"),
    [
        ("Run: aws rds modify-db-instance --x (no downtime)", "aws rds modify-db-instance --x"),
        ("Run: python manage.py migrate", "python manage.py migrate"),
        ("Write it and run: python x", "python x"),
        ("Look. Run: a --b c.json; then d.", "a --b c.json"),
        ("Run: a.b c. Then look.", "a.b c"),
        ("", ""),
    ],
)
def test_the_command_in_a_hint(hint, command):
    assert command_in(hint) == command


def test_changes_are_shown(page, tmp_path):
    assert page.all(".changes") == []
    changes = (Change("a.b", "shop", Status.PASS, Status.FAIL, "<open>"), Change("a.c", "", None, Status.PASS, "seen"))
    Page(page.driver, replace(sample(), changes=changes), tmp_path / "changed.html")
    assert page.shown(".changes li") == ["a.b shop: pass → fail: <open>", "a.c: no finding → pass: seen"]


def test_the_table_merges_the_findings_about_one_tenant():
    role = change(sample().findings[-1], id="databases.role-privileges", status=Status.FAIL)
    of_tenant = (change(role, resource="shop CREATEDB"), change(role, resource="shop SUPERUSER"))
    other = change(role, id="alarms.actions", resource="shop is full", per_tenant=False)
    found = tenant_table(Report((*of_tenant, other), 0, "prod", tenants=("shop",)))
    assert [check["anchor"] for check in found["checks"]] == ["databases.role-privileges"]
    assert [cell["status"] for cell in found["rows"][0]["cells"]] == [Status.FAIL]


def test_a_report_without_tenants_has_no_table():
    assert tenant_table(Report(sample().findings[:7], 0, "prod"))["rows"] == []
    assert "<table>" not in to_html(Report(sample().findings[:7], 0, "prod"))


@pytest.mark.parametrize(
    ("statuses", "color"),
    [
        ("pass", "pass"),
        ("pass,warn", "warn"),
        ("pass,waived", "warn"),
        ("pass,fail", "fail"),
        ("pass,unknown", "unknown"),
        ("not applicable", "unknown"),
    ],
)
def test_the_color_of_the_verdict(statuses, color):
    one = sample().findings[0]
    report = Report(tuple(change(one, status=Status(status)) for status in statuses.split(",")), 0, "prod")
    assert f'<header class="{color}">' in to_html(report)


@pytest.mark.slow
def test_a_cause_is_one_problem_with_the_checks_that_depend_on_it(driver, tmp_path):
    page = Page(driver, without_secret(), tmp_path / "report.html")
    page.emulate()
    assert page.shown("#findings h2") == ["Problems", "Website"]
    assert page.shown("article h3") == [f"✗ {CAUSE} fail", "✓ Plain HTTP is redirected to HTTPS pass"]
    assert page.shown(".not-evaluated li") == [f"2 checks could not be evaluated: {CAUSE}"]
    assert page.shown("article:first-of-type details")[0].split("\n")[0] == "2 checks depend on it"
    assert page.shown("article:first-of-type .resources code") == ["connection.query", "rds.deletion-protection"]
    assert page.shown("article .small") == ["Reported by connection.secret", "web.https-redirect · high"]
    assert page.one(".command code").text == "python manage.py sync_secrets FILE --create"
    assert "guide" not in page.one("#findings").text
    for status, number in (("unknown", 1), ("fail", 1), ("pass", 1)):
        page.filter(status)
        assert len(page.shown("article")) == number
    page.filter(words="rds.deletion-protection")
    assert page.shown("article h3") == [f"✗ {CAUSE} fail"]
