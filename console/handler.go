// SPDX-License-Identifier: Apache-2.0

package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// policy is the content security policy of all pages: nothing from elsewhere, no inline
// scripts, in nobody's frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// documentPolicy is that of reports and cards, which carry their style inline and need no
// script; they cannot act in the name of who looks at them.
const documentPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'; base-uri 'none'"

// problem is an error for the person at the browser.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func notFound(format string, args ...any) error {
	return &problem{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// formBytesMax bounds what a form sends.
const formBytesMax = 64 << 10

// origins refuses requests that a page of another origin made; see C1.
var origins = http.NewCrossOriginProtection()

// open serves everybody, with the headers of all pages.
func (c *Console) open(serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return c.limited(formBytesMax, serve)
}

// limited is open with a bound of its own for what is sent.
func (c *Console) limited(bytesMax int64, serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return origins.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		r.Body = http.MaxBytesReader(w, r.Body, bytesMax)
		if err := serve(w, r); err != nil {
			c.fail(w, r, err)
		}
	}))
}

// secure serves those with a role, and sends others to sign in.
func (c *Console) secure(role Role, serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return c.open(c.guarded(role, serve))
}

// guarded asks for a role before it serves.
func (c *Console) guarded(role Role, serve func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		s := c.sessions.of(r)
		switch {
		case s.role == Nobody && r.Method == http.MethodGet:
			target := "/console/login?next=" + url.QueryEscape(r.URL.RequestURI())
			if r.Header.Get("HX-Request") != "" { // a part of a page: the page itself has to go
				w.Header().Set("HX-Redirect", target)
				return nil
			}
			http.Redirect(w, r, target, http.StatusSeeOther)
			return nil
		case s.role == Nobody:
			return &problem{http.StatusUnauthorized, "Sign in first: the session has ended."}
		case s.role < role:
			return &problem{http.StatusForbidden, fmt.Sprintf("This needs the role %s; you are signed in as %s, %s.", role, s.who, s.role)}
		}
		return serve(w, r)
	}
}

// fail answers with what went wrong, as a page or as a part of one.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := &problem{http.StatusInternalServerError, err.Error()}
	var tooLarge *http.MaxBytesError
	if !errors.As(err, &p) {
		if errors.As(err, &tooLarge) {
			p = &problem{http.StatusRequestEntityTooLarge, "That is more than the console takes."}
		} else {
			c.options.Logger.Error("console", "path", r.URL.Path, "error", err)
		}
	}
	if err := c.render(w, r, p.status, "problem", p.text); err != nil {
		c.options.Logger.Error("console", "path", r.URL.Path, "error", err)
	}
}

// loginForm is what the page to sign in shows.
type loginForm struct{ Next, Problem string }

func (c *Console) showLogin(w http.ResponseWriter, r *http.Request) error {
	return c.render(w, r, http.StatusOK, "login", loginForm{Next: safeNext(r.URL.Query().Get("next"))})
}

// safeNext is a path of this console; anything else would send people elsewhere.
func safeNext(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n") {
		return "/"
	}
	return next
}

func (c *Console) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return invalid("The form cannot be read.")
	}
	next := safeNext(r.PostForm.Get("next"))
	t := c.sessions.keys.Find(r.PostForm.Get("token"))
	if t != nil && t.Role < Viewer {
		return c.render(w, r, http.StatusForbidden, "login", loginForm{next, "That token is a program's, of the role client: it adds data and does not look."})
	}
	if t == nil {
		return c.render(w, r, http.StatusUnauthorized, "login", loginForm{next, "That is no token of this project."})
	}
	s, err := c.sessions.start(t)
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: s.id, Path: "/", MaxAge: int(sessionAge.Seconds()), HttpOnly: true,
		Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) error {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		c.sessions.end(cookie.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/console/login", http.StatusSeeOther)
	return nil
}

// act makes a change in the name of who asks, records it, and goes back to a page.
func (c *Console) act(w http.ResponseWriter, r *http.Request, e Entry, do func() (string, error)) error {
	e.Time, e.Who = c.options.Now().UTC(), c.sessions.of(r).who
	detail, err := do()
	if e.Detail = detail; err != nil {
		e.Error = err.Error()
	}
	if recordErr := c.options.Audit.Append(e); recordErr != nil {
		return errors.Join(err, fmt.Errorf("the audit trail could not be written: %w", recordErr))
	}
	if err != nil {
		return &problem{http.StatusConflict, err.Error()}
	}
	if r.Header.Get("HX-Request") != "" {
		w.Header().Set("HX-Redirect", e.Link)
		return nil
	}
	http.Redirect(w, r, e.Link, http.StatusSeeOther)
	return nil
}
