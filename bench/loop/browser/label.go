// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// pagesMax bounds how many pages are looked for.
const pagesMax = 40

// links are the addresses within the console that the page leads to, those of the navigation
// first.
const links = `[...document.querySelectorAll("nav a[href], main a[href]")].slice(0, 2000).filter((a) => a.origin === location.origin && !a.hasAttribute("download")).map((a) => a.pathname + a.search)`

// discover are the pages of a console: those of the navigation, and one of each kind that
// they lead to. There are at most pagesMax.
func discover(tab context.Context, base string) ([]string, error) {
	var pages []string
	seen := map[string]bool{}
	kinds := map[string]bool{}
	queue := []string{"/"}
	for len(queue) > 0 && len(pages) < pagesMax {
		path := queue[0]
		queue = queue[1:]
		if seen[path] || kinds[kind(path)] {
			continue
		}
		seen[path], kinds[kind(path)] = true, true
		if _, err := open(tab, base+path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		pages = append(pages, path)
		var next []string
		if err := chromedp.Run(tab, chromedp.Evaluate(links, &next)); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		queue = append(queue, next...)
	}
	return pages, nil
}

// words are parts of addresses that are not names.
var words = []string{"alarms", "logs", "report", "card", "review", "promotions", "compare"}

// kind is an address without the names in it, so that one run stands for all.
func kind(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i := 2; i < len(parts); i++ {
		if !slices.Contains(words, parts[i]) {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

// keyDone is how the page says that the next task is on the screen.
const keyDone = `performance.getEntriesByName("key to next task")`

// label labels tasks with the first label's key, until there is none or enough are done.
func label(tab context.Context, o *Options) ([]float64, error) {
	at := "/console/labeling/" + url.PathEscape(o.LabelProject)
	if _, err := open(tab, o.URL+at); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	var key string
	err := chromedp.Run(tab, chromedp.Evaluate(`JSON.parse(document.getElementById("label-config").textContent).labels[0].key`, &key))
	if err != nil || key == "" {
		return nil, fmt.Errorf("%s: labels have no key: %w", at, err)
	}
	o.Progress(fmt.Sprintf("%s: %d tasks with the key %s", at, o.Tasks, key))
	for done := range o.Tasks {
		more, err := waitTask(tab)
		if err != nil || !more {
			return keyMillis(tab, at, done, err)
		}
		ctx, cancel := context.WithTimeout(tab, PageTimeout)
		err = chromedp.Run(ctx, chromedp.KeyEvent(key), chromedp.Poll(fmt.Sprintf(`%s.length > %d || desk.tasks.length === 0`, keyDone, done), nil))
		cancel()
		if err != nil {
			return nil, fmt.Errorf("%s, task %d: %w", at, done+1, err)
		}
	}
	return keyMillis(tab, at, o.Tasks, nil)
}

// waitTask waits for a task to be on the screen, a second at most.
func waitTask(tab context.Context) (bool, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Second); ; {
		var is bool
		if err := chromedp.Run(tab, chromedp.Evaluate(`!!window.desk && desk.tasks.length > 0`, &is)); err != nil || is {
			return is, err
		}
		if time.Now().After(end) {
			return false, nil
		}
		select {
		case <-tick.C:
		case <-tab.Done():
			return false, tab.Err()
		}
	}
}

// keyMillis are the times that the page noted, after all it said was taken by the server.
func keyMillis(tab context.Context, at string, done int, err error) (all []float64, _ error) {
	if err == nil && done == 0 {
		err = errors.New("there is nothing to label")
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(tab, PageTimeout)
		defer cancel()
		err = chromedp.Run(ctx, chromedp.Poll(`desk.outbox.size === 0 && !desk.sender.running`, nil), chromedp.Evaluate(keyDone+`.map((m) => m.duration)`, &all))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return all, nil
}
