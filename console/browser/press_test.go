// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/input"

	"github.com/millrace-ml/millrace/console/browser"
)

// TestPressOverRefresh: a link in a part of a page that is kept fresh is followed, also where
// an answer came between pressing and letting go.
func TestPressOverRefresh(t *testing.T) {
	const link = `<a id="link" href="/there">there</a>`
	var refreshed atomic.Int64
	assets := http.StripPrefix("/assets", http.FileServer(http.Dir("../assets")))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("HX-Request") != "":
			fmt.Fprint(w, link)
			refreshed.Add(1)
		case r.URL.Path == "/":
			fmt.Fprint(w, `<!doctype html><title>here</title><link rel="icon" href="data:,"><script src="/assets/htmx.min.js"></script><script src="/assets/console.js"></script>`+
				`<div hx-get="/" hx-trigger="every 50ms">`+link+`</div>`)
		case r.URL.Path == "/there":
			fmt.Fprint(w, `<!doctype html><title>there</title><link rel="icon" href="data:,">`)
		default:
			assets.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	page := browser.Visitor(t).Open(t, server.URL+"/")
	var at []float64
	page.Eval(t, `(() => { const box = document.querySelector("#link").getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()`, &at)
	page.Run(t, &input.DispatchMouseEventParams{Type: input.MousePressed, X: at[0], Y: at[1], Button: input.Left, Buttons: 1, ClickCount: 1})
	for before := refreshed.Load(); refreshed.Load() < before+3; {
		page.Eval(t, `new Promise((done) => setTimeout(done, 20))`, nil)
	}
	page.Run(t, &input.DispatchMouseEventParams{Type: input.MouseReleased, X: at[0], Y: at[1], Button: input.Left, ClickCount: 1})
	page.Wait(t, `document.title === "there"`)
	page.Go(t, "about:blank")
}
