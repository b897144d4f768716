// SPDX-License-Identifier: Apache-2.0

// Package browser drives a real Chromium in tests of the console, and of whatever else has
// pages: one browser a test binary, and for each person a profile of their own in it, with
// cookies and storage.
//
//	func TestMain(m *testing.M) { os.Exit(browser.Main(m)) }
//
//	func TestPage(t *testing.T) {
//		page := browser.Visitor(t).Open(t, server.URL+"/console/models")
//		page.Click(t, "button")
//		page.Wait(t, `document.title == "fraud"`)
//		page.Check(t) // names, contrast, width
//	}
//
// Only tests import it. Chromium is found under CHROMIUM, or in the path, as
// scripts/fetch-chromium.sh installs it; a test without one is skipped and says so.
//
// Invariants:
//
//   - W1: a page that had an error in its console, an exception or a violation of its
//     policy fails the test at its end, unless the test allowed it.
//   - W2: a question of the page (confirm) is answered with yes.
//   - W3: nothing waits longer than Timeout for anything.
//
// Concurrency: a Page is for one goroutine. The browser ends with Main, or with the process.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Timeout bounds how long a page is waited for, so that a test on a loaded machine passes
// and one that hangs still says where.
const Timeout = time.Minute

// names are what Chromium may be called.
var names = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"}

// Find is the path of Chromium, or says how to get it.
func Find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium: run scripts/fetch-chromium.sh, or name one in CHROMIUM")
}

// chromium is the browser of this process.
var chromium struct {
	sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
	err    error
}

// Main runs the tests of a package and ends the browser after them.
func Main(m *testing.M) int {
	code := m.Run()
	chromium.Lock()
	defer chromium.Unlock()
	if chromium.ctx != nil {
		if err := chromedp.Cancel(chromium.ctx); err != nil { // waits until it ended and its files are gone
			fmt.Fprintln(os.Stderr, "chromium:", err)
		}
		chromium.cancel()
	}
	return code
}

// start starts Chromium once, and skips the test where there is none.
func start(t testing.TB) context.Context {
	t.Helper()
	path, err := Find()
	if err != nil {
		t.Skip(err)
	}
	chromium.Lock()
	defer chromium.Unlock()
	if chromium.ctx == nil && chromium.err == nil {
		chromium.ctx, chromium.err = launch(path)
	}
	if chromium.err != nil {
		t.Fatalf("%s does not start: %v", path, chromium.err)
	}
	return chromium.ctx
}

// launch needs chromium held. A container has little shared memory, and no sandbox for root.
func launch(path string) (context.Context, error) {
	o := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("headless", "new"), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en-US"),
		chromedp.WSURLReadTimeout(Timeout))
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), o...)
	// A newer Chromium says things that the protocol of this client does not know; they are
	// of no use here.
	ctx, _ := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}), chromedp.WithBrowserOption(chromedp.WithDialTimeout(Timeout))) // ended by chromedp.Cancel
	chromium.cancel = cancelAllocator
	return ctx, chromedp.Run(ctx)
}

// Person is somebody at the browser: cookies and storage of their own.
type Person struct {
	browser context.Context
	profile cdp.BrowserContextID
}

// Visitor is a new person, who leaves at the end of the test.
func Visitor(t testing.TB) *Person {
	t.Helper()
	p := &Person{browser: start(t)}
	err := inBrowser(p.browser, func(ctx context.Context) (err error) {
		p.profile, err = target.CreateBrowserContext().Do(ctx)
		return err
	})
	if err != nil {
		t.Fatalf("a new profile: %v", err)
	}
	t.Cleanup(func() {
		if err := inBrowser(p.browser, target.DisposeBrowserContext(p.profile).Do); err != nil {
			t.Errorf("a profile that ends: %v", err)
		}
	})
	return p
}

// inBrowser speaks to the browser and not to one of its tabs.
func inBrowser(browser context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(browser, Timeout)
	defer cancel()
	return do(cdp.WithExecutor(ctx, chromedp.FromContext(browser).Browser))
}

// Page is a tab.
type Page struct {
	ctx context.Context
	mu  struct {
		sync.Mutex
		problems []string
		allowed  []string
	}
}

// Open opens a tab with a page, 1280 pixels wide, and waits until it is loaded.
func (p *Person) Open(t testing.TB, url string) *Page {
	t.Helper()
	var id target.ID
	err := inBrowser(p.browser, func(ctx context.Context) (err error) {
		// A profile without a window has no place for a tab.
		id, err = target.CreateTarget("about:blank").WithBrowserContextID(p.profile).WithNewWindow(true).Do(ctx)
		return err
	})
	if err != nil {
		t.Fatalf("a new tab: %v", err)
	}
	ctx, cancel := chromedp.NewContext(p.browser, chromedp.WithTargetID(id))
	tab := &Page{ctx: ctx}
	chromedp.ListenTarget(ctx, tab.listen)
	t.Cleanup(func() {
		cancel()
		for _, problem := range tab.Problems() {
			t.Errorf("%s: %s", url, problem)
		}
	})
	tab.Run(t, runtime.Enable(), cdplog.Enable(), network.Enable())
	tab.Size(t, 1280, 900)
	tab.Go(t, url)
	return tab
}

// listen keeps what goes wrong in the page, at most problemsMax of it.
func (p *Page) listen(event any) {
	const problemsMax = 50
	text := ""
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		// Answered from a goroutine of its own, as this one carries the answer; it ends with
		// the answer, or with the tab.
		go func() { _ = p.do(page.HandleJavaScriptDialog(true)) }()
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Error()
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			for _, a := range e.Args {
				text += " " + string(a.Value) + a.Description
			}
			text = "console:" + text
		}
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.LevelError {
			text = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text != "" && len(p.mu.problems) < problemsMax {
		p.mu.problems = append(p.mu.problems, text)
	}
}

// Allow lets problems pass that have a text in them, as ERR_INTERNET_DISCONNECTED.
func (p *Page) Allow(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.allowed = append(p.mu.allowed, text)
}

// Problems are the errors of the page so far, what is allowed left out.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
next:
	for _, problem := range p.mu.problems {
		for _, text := range p.mu.allowed {
			if strings.Contains(problem, text) {
				continue next
			}
		}
		out = append(out, problem)
	}
	return out
}

// Run does what chromedp and cdproto offer.
func (p *Page) Run(t testing.TB, actions ...chromedp.Action) {
	t.Helper()
	if err := p.do(actions...); err != nil {
		t.Fatal(err)
	}
}

// do is bounded by Timeout, without ending the tab with it.
func (p *Page) do(actions ...chromedp.Action) error {
	if chromedp.FromContext(p.ctx).Target == nil {
		if err := chromedp.Run(p.ctx); err != nil { // the first run makes the tab, which must outlive the bound
			return err
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, Timeout)
	defer cancel()
	return chromedp.Run(ctx, actions...)
}

// Go loads an address.
func (p *Page) Go(t testing.TB, url string) {
	t.Helper()
	if err := p.do(chromedp.Navigate(url)); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

// Reload loads the page again.
func (p *Page) Reload(t testing.TB) {
	t.Helper()
	p.Run(t, chromedp.Reload())
}

// Eval evaluates an expression of JavaScript; out may be nil. A promise is waited for, with
// and without out.
func (p *Page) Eval(t testing.TB, expression string, out any) {
	t.Helper()
	await := func(e *runtime.EvaluateParams) *runtime.EvaluateParams { return e.WithAwaitPromise(true) }
	var action chromedp.Action = chromedp.Evaluate(expression, out, await)
	if out == nil {
		action = chromedp.Evaluate("Promise.resolve("+expression+").then(() => {})", nil, await)
	}
	if err := p.do(action); err != nil {
		t.Fatalf("%.200s: %v", expression, err)
	}
}

// Text is the text of an element as it is seen.
func (p *Page) Text(t testing.TB, selector string) string {
	t.Helper()
	var text string
	p.Eval(t, fmt.Sprintf(`(document.querySelector(%q) || {innerText: ""}).innerText`, selector), &text)
	return text
}

// Wait waits until an expression of JavaScript is true. The page may be left for another
// meanwhile.
func (p *Page) Wait(t testing.TB, condition string) {
	t.Helper()
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(Timeout); ; <-tick.C {
		var is bool
		err := p.do(chromedp.Evaluate("!!("+condition+")", &is))
		if is {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waiting for %s: %v; the page shows: %.1500s", condition, err, p.Text(t, "body"))
		}
	}
}

// Click presses what a selector finds first. Where the page replaces that between finding,
// pressing and letting go, as a list does that is kept fresh, there is no click, and it is
// looked for again.
func (p *Page) Click(t testing.TB, selector string) {
	t.Helper()
	const look = `window.missed = true; addEventListener("click", (e) => { if (e.target.closest(%q)) window.missed = false; }, { capture: true })`
	for end := time.Now().Add(Timeout); ; {
		err := p.do(chromedp.Evaluate(fmt.Sprintf(look, selector), nil), chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
		missed := false
		if err == nil {
			_ = p.do(chromedp.Evaluate(`window.missed === true`, &missed)) // an error is of a page that the click has left
			if !missed {
				return
			}
		}
		if time.Now().After(end) || !missed && !replaced(err) {
			t.Fatalf("click %s: %v, missed %v", selector, err, missed)
		}
	}
}

// replaced tells the errors of an element that is not in the page any more.
func replaced(err error) bool {
	const ofServer = -32000 // JSON-RPC: no such node, no layout of it
	var e *cdproto.Error
	return errors.Is(err, chromedp.ErrInvalidDimensions) || errors.As(err, &e) && e.Code == ofServer
}

// Keys presses keys one after the other: characters, or those of chromedp/kb.
func (p *Page) Keys(t testing.TB, keys string) {
	t.Helper()
	p.press(t, keys, input.ModifierNone)
}

// Shift presses a key with Shift, Control one with Ctrl.
func (p *Page) Shift(t testing.TB, key string) {
	t.Helper()
	p.press(t, key, input.ModifierShift)
}

// Control presses a key with Ctrl.
func (p *Page) Control(t testing.TB, key string) {
	t.Helper()
	p.press(t, key, input.ModifierCtrl)
}

// press sends keys as a keyboard does: the character comes of the key going down, unless
// the page prevents it.
func (p *Page) press(t testing.TB, keys string, modifiers input.Modifier) {
	t.Helper()
	for _, r := range keys {
		events := kb.Encode(r)
		text := ""
		for _, e := range events {
			if e.Type == input.KeyChar {
				text = e.Text
			}
		}
		for _, e := range events {
			if e.Type == input.KeyChar {
				continue
			}
			e.Modifiers |= modifiers
			if e.Type != input.KeyUp && text != "" && modifiers&input.ModifierCtrl == 0 {
				e.Type, e.Text = input.KeyDown, text
			}
			p.Run(t, e)
		}
	}
}

// Offline takes the network away from the tab, or gives it back.
func (p *Page) Offline(t testing.TB, offline bool) {
	t.Helper()
	p.Allow("ERR_INTERNET_DISCONNECTED")
	p.Run(t, network.EmulateNetworkConditions(offline, 0, -1, -1))
}

// Size sets the size of the page, in CSS pixels.
func (p *Page) Size(t testing.TB, width, height int64) {
	t.Helper()
	p.Run(t, emulation.SetDeviceMetricsOverride(width, height, 1, false))
}

// drawn waits until two frames have begun: by then the page has heard of the size and the
// scheme that were set last, and has fitted its plots to them.
func (p *Page) drawn(t testing.TB) {
	t.Helper()
	p.Eval(t, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`, nil)
}

// Dark sets what the person prefers.
func (p *Page) Dark(t testing.TB, dark bool) {
	t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.Run(t, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
}

// Screenshot writes the whole page as NAME.png into the folder that MILLRACE_SCREENSHOTS
// names, for people to look at; without one it does nothing.
func (p *Page) Screenshot(t testing.TB, name string) {
	t.Helper()
	dir := os.Getenv("MILLRACE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	p.Run(t, chromedp.ActionFunc(func(ctx context.Context) (err error) {
		png, err = page.CaptureScreenshot().WithCaptureBeyondViewport(true).WithFromSurface(true).Do(ctx)
		return err
	}))
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// call runs a method of the protocol with an answer of our own: a newer Chromium has values
// that cdproto would refuse.
func (p *Page) call(method string, params, result any) error {
	return p.do(chromedp.ActionFunc(func(ctx context.Context) error { return cdp.Execute(ctx, method, params, result) }))
}
