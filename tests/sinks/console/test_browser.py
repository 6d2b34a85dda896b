"""A person at a browser: the way from the sign-in to a resolved alert, in both languages and on a phone."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sinks.console.access import Role
from tests.sinks.console.world import HOSTILE, PASSWORD, Served, World

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
WAIT_MS = 20_000
PHONE = {"width": 390, "height": 844}
PAGES = ("/", "/?show=ended", "/buildings", "/floor?site=east&building=E1&floor=E1-1", "/space?site=east&id=E1-101", "/usage",
         "/point?site=east&id=e-light", "/waste", "/vehicles", "/silences", "/system", "/audit", "/users", "/account", "/api")  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium fonts-noto-cjk (make browser)")
    with sync_playwright() as playwright:
        # Tests run as root in containers, where Chromium has no sandbox; it only sees this console.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    """The console on a port."""
    with Served(world.parts) as address:
        yield address


def enter(browser: Browser, url: str, user: str, faults: list[str], **more: Any) -> Page:
    """A page of somebody who has signed in by the form; faults of the console's scripts and policy are collected."""
    context = browser.new_context(**{"locale": "en-US", **more})
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{url}/")
    page.fill("[name=user]", user)
    page.fill("[name=password]", PASSWORD)
    page.click("button.main")
    page.wait_for_selector("h1")
    return page


def test_from_sign_in_to_resolved(world: World, browser: Browser, url: str) -> None:
    """Sign in; an alert appears by itself; open it; acknowledge; silence; the data say that it is over; no reload."""
    faults: list[str] = []
    page = enter(browser, url, "operator", faults)
    link = page.locator("a[href*='episode=900']")
    expect(link).to_have_count(0)
    world.alert(site="west", subject="W1-101", episode=900, severity="critical")
    expect(link).to_have_count(1, timeout=WAIT_MS)
    expect(page.locator("tr", has=link)).to_contain_text("Critical")

    link.click()
    expect(page.locator("h1")).to_contain_text("Critical")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".lead .tag").first).to_have_text("acknowledged")
    page.locator("summary", has_text="Silence").click()
    page.locator(".drop select[name=hours]").select_option("4")
    page.get_by_role("button", name="Silence").click()
    expect(page.locator(".lead .tag.quiet")).to_be_visible()
    expect(page.locator("ol.events")).to_contain_text("acknowledged")

    page.goto(f"{url}/?show=quiet")
    expect(link).to_have_count(1)
    world.alert("resolved", site="west", subject="W1-101", episode=900, severity="critical")
    expect(link).to_have_count(0, timeout=WAIT_MS)
    page.goto(f"{url}/?show=ended")
    expect(page.locator("tr", has=link)).to_contain_text("resolved")
    assert not faults
    page.context.close()


def test_many_at_once_with_the_keyboard(world: World, browser: Browser, url: str) -> None:
    """Keys j and x choose, what is chosen stays while the list is made anew, a acknowledges; focus can be seen."""
    faults: list[str] = []
    for episode in (910, 911):
        world.alert(site="west", rule="Keyboard", subject="W1-101", episode=episode)
    page = enter(browser, url, "operator", faults)
    page.goto(f"{url}/?rule=Keyboard")
    boxes = page.locator("input[name=key]")
    expect(boxes).to_have_count(2)
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.locator("input[name=key]:checked")).to_have_count(2)
    world.alert(site="west", rule="Keyboard", subject="W1-101", episode=912)
    expect(boxes).to_have_count(3, timeout=WAIT_MS)
    expect(page.locator("input[name=key]:checked")).to_have_count(2)
    page.keyboard.press("a")
    expect(page.locator("td.status .tag.acknowledged")).to_have_count(2)
    expect(page.locator("td.status .tag.firing")).to_have_count(1)
    assert not faults
    page.context.close()


def test_wrong_role_is_refused(world: World, browser: Browser, url: str) -> None:
    """A viewer sees no buttons, and what he opens by its address says that he may not."""
    faults: list[str] = []
    page = enter(browser, url, str(Role.VIEWER), faults)
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    for path in ("/users", "/audit", "/system"):
        expect(page.locator(f"header nav a[href='{path}']")).to_have_count(0)
        page.goto(url + path)
        expect(page.get_by_role("alert")).to_contain_text("Your role does not allow this")
    page.context.close()


def test_both_languages(world: World, browser: Browser, url: str) -> None:
    """The browser's language first, then the one that was chosen, kept for the next time."""
    faults: list[str] = []
    page = enter(browser, url, str(Role.LIAISON), faults, locale="zh-CN")
    expect(page.locator("h1")).to_have_text("现在有什么问题")
    page.get_by_role("button", name="English").click()
    expect(page.locator("h1")).to_have_text("What burns now")
    page.get_by_role("button", name="Sign out").click()
    page.context.close()
    again = enter(browser, url, str(Role.LIAISON), faults, locale="zh-CN")
    expect(again.locator("h1")).to_have_text("What burns now")
    assert not faults
    again.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(world: World, browser: Browser, url: str, scheme: str) -> None:
    """No page is wider than a phone; hostile names stay text; the policy and the scripts have nothing to complain of."""
    faults: list[str] = []
    world.alert(episode=920)
    page = enter(browser, url, "admin", faults, viewport=PHONE, color_scheme=scheme, has_touch=True)
    for path in (*PAGES, "/alert?site=east&rule=LightsInEmptyRoom&subject=E1-101&episode=920"):
        page.goto(url + path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (path, wide)
        assert page.evaluate("window.pwned") is None
    expect(page.locator(".lead")).to_contain_text("<script>")
    assert HOSTILE[:20] in page.locator(".lead").inner_text()
    assert not faults
    page.context.close()


def test_new_password_and_out(world: World, browser: Browser, url: str) -> None:
    """A one-time password opens the form for a new one and nothing else; after signing out, nothing is open."""
    given = world.parts.store.add_user("qian", Role.VIEWER, ["E1"])
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(f"{url}/usage")
    page.fill("[name=user]", "qian")
    page.fill("[name=password]", str(given))
    page.click("button.main")
    expect(page.locator("h1")).to_have_text("New password")
    page.fill("[name=password]", str(given))
    page.fill("[name=new]", "a long new one")
    page.fill("[name=again]", "a long new one")
    page.click("button.main")
    expect(page.locator("h1")).to_have_text("What burns now")
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{url}/usage")
    expect(page.locator("h1")).to_have_text("Sign in")
    context.close()
    world.parts.store.remove_user("qian")
