// SPDX-License-Identifier: Apache-2.0

// Package browser measures the console as somebody at a browser has it: how long pages take
// until they can be used, and the labelling page from a key to the next task.
//
// It drives a real Chromium, with an empty cache for each round. A page is interactive at the
// first frame after DOMContentLoaded in which nothing that it asked for while it was loaded
// is under way any more: the plots are drawn and the first task to label is there. Times are
// of the page's own clock (the Performance API), which begins when the navigation does.
//
// Invariants:
//
//   - M1: a page that does not answer with 200, or is not interactive within PageTimeout, is
//     an error and no number.
//   - M2: the browser and its files are gone when Measure returns.
package browser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// PageTimeout bounds how long a page is waited for.
const PageTimeout = 30 * time.Second

// Defaults and bounds of Options.
const (
	roundsDefault = 3
	roundsMax     = 100
	tasksMax      = 1000
)

// Options are what is measured.
type Options struct {
	// URL is that of the console, which lets somebody at this machine in: http://localhost:8080.
	URL string
	// Chromium is the path of the browser; empty looks under CHROMIUM and in the path.
	Chromium string
	// Pages are paths, as /console/models. None stands for all that the console leads to
	// (see Find).
	Pages []string
	// Rounds is how often each page is opened, 3 if it is 0, at most 100.
	Rounds int
	// LabelProject is the labelling project in which Tasks tasks are labelled with the first
	// label's key; empty or 0 labels nothing. What is labelled is really labelled.
	LabelProject string
	Tasks        int
	// Progress, if given, is told what is done.
	Progress func(text string)
}

// Result is what was measured.
type Result struct {
	// PageMillis is by page the time until it could be used, in milliseconds, one a round.
	PageMillis map[string][]float64
	// KeyMillis is the time from each key until the next task was on the screen, in
	// milliseconds. There are fewer than Tasks if fewer were there.
	KeyMillis []float64
}

// ErrNoChromium is the error where no browser is found.
var ErrNoChromium = errors.New("no Chromium: run scripts/fetch-chromium.sh, or name one in CHROMIUM")

func (o *Options) complete() error {
	at, err := url.Parse(o.URL)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return fmt.Errorf("%q is not the address of a console, such as http://localhost:8080", o.URL)
	}
	o.URL = strings.TrimRight(o.URL, "/")
	if o.Rounds == 0 {
		o.Rounds = roundsDefault
	}
	if o.Rounds < 1 || o.Rounds > roundsMax || o.Tasks < 0 || o.Tasks > tasksMax {
		return fmt.Errorf("%d rounds and %d tasks: at most %d and %d", o.Rounds, o.Tasks, roundsMax, tasksMax)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Chromium == "" {
		o.Chromium, err = find()
	}
	return err
}

// find is the path of Chromium.
func find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoChromium
}

// Measure opens pages and labels tasks. It does one thing at a time.
func Measure(ctx context.Context, o Options) (Result, error) {
	r := Result{PageMillis: map[string][]float64{}}
	if err := o.complete(); err != nil {
		return r, err
	}
	err := withChromium(ctx, o.Chromium, func(browser context.Context) error {
		if len(o.Pages) == 0 {
			if err := inTab(browser, func(tab context.Context) (err error) {
				o.Pages, err = discover(tab, o.URL)
				return err
			}); err != nil {
				return err
			}
		}
		for round := range o.Rounds {
			o.Progress(fmt.Sprintf("round %d of %d: %d pages", round+1, o.Rounds, len(o.Pages)))
			if err := inTab(browser, func(tab context.Context) error { return openPages(tab, &o, &r) }); err != nil {
				return err
			}
		}
		if o.LabelProject == "" || o.Tasks == 0 {
			return nil
		}
		return inTab(browser, func(tab context.Context) (err error) {
			r.KeyMillis, err = label(tab, &o)
			return err
		})
	})
	return r, err
}

// withChromium starts a browser, and ends it. A container has little shared memory, and no
// sandbox for root.
func withChromium(ctx context.Context, path string, do func(context.Context) error) error {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en-US"), chromedp.WSURLReadTimeout(PageTimeout))
	allocator, cancelAllocator := chromedp.NewExecAllocator(ctx, options...)
	defer cancelAllocator()
	// A newer Chromium says things that the protocol of this client does not know; they are
	// of no use here.
	browser, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	defer cancel()
	if err := chromedp.Run(browser); err != nil {
		return fmt.Errorf("%s does not start: %w", path, err)
	}
	return errors.Join(do(browser), chromedp.Cancel(browser)) // which waits until it ended and its files are gone
}

// inTab is a tab of a new person's: no cache, no cookies.
func inTab(browser context.Context, do func(tab context.Context) error) error {
	with := func(ctx context.Context) context.Context {
		return cdp.WithExecutor(ctx, chromedp.FromContext(browser).Browser)
	}
	profile, err := target.CreateBrowserContext().Do(with(browser))
	if err != nil {
		return fmt.Errorf("a new profile: %w", err)
	}
	id, err := target.CreateTarget("about:blank").WithBrowserContextID(profile).WithNewWindow(true).Do(with(browser))
	if err != nil {
		return fmt.Errorf("a new tab: %w", err)
	}
	tab, cancel := chromedp.NewContext(browser, chromedp.WithTargetID(id))
	defer cancel()
	err = chromedp.Run(tab, emulation.SetDeviceMetricsOverride(1280, 900, 1, false), chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(watch).Do(ctx)
		return err
	}))
	if err == nil {
		err = do(tab)
	}
	return errors.Join(err, target.DisposeBrowserContext(profile).Do(with(browser)))
}

func openPages(tab context.Context, o *Options, r *Result) error {
	for _, path := range o.Pages {
		took, err := open(tab, o.URL+path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		r.PageMillis[path] = append(r.PageMillis[path], took)
		o.Progress(fmt.Sprintf("%s: %.0f ms", path, took))
	}
	return nil
}

// watch notes in window.interactive when the page could be used: what it fetches while it is
// loaded has come, and a frame was drawn after it. It runs before anything of the page.
const watch = `(() => {
  const ask = window.fetch;
  let open = 0;
  window.fetch = async (...what) => {
    open++;
    try {
      const answer = await ask(...what);
      await answer.clone().arrayBuffer();
      return answer;
    } finally {
      setTimeout(() => open--, 0); // after the page has taken what came
    }
  };
  const look = () => {
    if (open > 0) return requestAnimationFrame(look);
    const channel = new MessageChannel(); // its message comes after the frame is drawn
    channel.port1.onmessage = () => { window.interactive = performance.now(); };
    channel.port2.postMessage(0);
  };
  document.addEventListener("DOMContentLoaded", () => {
    window.watched = true; // where there are no scripts, this is not called
    setTimeout(() => requestAnimationFrame(look), 0);
  });
})()`

// looks says since when the page can be used, 0 while it cannot. A document that is shown
// without scripts, such as a report, has only its text to wait for.
const looks = `(() => {
  const nav = performance.getEntriesByType("navigation")[0];
  return { status: nav.responseStatus, took: window.watched ? window.interactive || 0 : nav.domContentLoadedEventEnd };
})()`

// open opens a page and says after how many milliseconds it could be used.
func open(tab context.Context, url string) (float64, error) {
	ctx, cancel := context.WithTimeout(tab, PageTimeout)
	defer cancel()
	if err := chromedp.Run(ctx, chromedp.Navigate(url)); err != nil {
		return 0, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var at struct {
			Status int     `json:"status"`
			Took   float64 `json:"took"`
		}
		if err := chromedp.Run(ctx, chromedp.Evaluate(looks, &at)); err != nil {
			return 0, err
		}
		if at.Status != 200 {
			return 0, fmt.Errorf("the answer is %d", at.Status)
		}
		if at.Took > 0 {
			return at.Took, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, errors.New("it is not there after " + PageTimeout.String())
		}
	}
}
