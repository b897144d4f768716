// SPDX-License-Identifier: Apache-2.0

package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Bounds of the audit pages.
const (
	// auditMax bounds the entries that are looked through, auditPageRows those of a page.
	auditMax      = 10_000
	auditPageRows = 100
	// auditTextMax bounds what a filter may ask for.
	auditTextMax = 200
)

// auditFilter says which entries are shown. Empty fields let everything through.
type auditFilter struct {
	Who, What, Of, Text string
	// Page is from 1.
	Page int
}

// auditPage is a page of the trail.
type auditPage struct {
	auditFilter
	Entries []Entry
	// Whos, Whats and Ofs are what can be chosen.
	Whos, Whats, Ofs []string
	Found            int
	Pages            int
	Earlier, Later   string
}

func (c *Console) audit(w http.ResponseWriter, r *http.Request) error {
	f, err := parseAuditFilter(r.URL.Query())
	if err != nil {
		return err
	}
	all, err := c.options.Audit.Entries(auditMax)
	if err != nil {
		return err
	}
	page := auditPage{auditFilter: *f}
	var found []Entry
	for _, e := range all {
		page.Whos, page.Whats, page.Ofs = choice(page.Whos, e.Who), choice(page.Whats, e.Action), choice(page.Ofs, e.Subject)
		if f.lets(&e) {
			found = append(found, e)
		}
	}
	slices.Sort(page.Whos)
	slices.Sort(page.Whats)
	slices.Sort(page.Ofs)
	page.Found, page.Pages = len(found), max((len(found)+auditPageRows-1)/auditPageRows, 1)
	from := min((f.Page-1)*auditPageRows, len(found))
	page.Entries = found[from:min(from+auditPageRows, len(found))]
	if f.Page > 1 {
		page.Later = f.link(f.Page - 1)
	}
	if f.Page < page.Pages {
		page.Earlier = f.link(f.Page + 1)
	}
	return c.render(w, r, http.StatusOK, "audit", page)
}

// choicesMax bounds the choices of a filter.
const choicesMax = 100

func choice(all []string, one string) []string {
	if one == "" || len(all) == choicesMax || slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

func parseAuditFilter(q url.Values) (*auditFilter, error) {
	f := &auditFilter{Who: q.Get("who"), What: q.Get("what"), Of: q.Get("of"), Text: strings.TrimSpace(q.Get("text")), Page: 1}
	for _, text := range []string{f.Who, f.What, f.Of, f.Text} {
		if len(text) > auditTextMax {
			return nil, invalid("A filter has at most %d characters.", auditTextMax)
		}
	}
	if text := q.Get("page"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > auditMax {
			return nil, invalid("There is no page %q.", shorten(text, 20))
		}
		f.Page = n
	}
	return f, nil
}

// lets says whether an entry passes. The text is looked for in all that is shown.
func (f *auditFilter) lets(e *Entry) bool {
	if f.Who != "" && e.Who != f.Who || f.What != "" && e.Action != f.What || f.Of != "" && e.Subject != f.Of {
		return false
	}
	text := strings.ToLower(f.Text)
	return text == "" || strings.Contains(strings.ToLower(strings.Join([]string{e.Who, e.Action, e.Subject, e.Detail, e.Error, when(e.Time)}, "\n")), text)
}

// link is the address of another page of the same filter.
func (f *auditFilter) link(page int) string {
	q := url.Values{}
	for name, text := range map[string]string{"who": f.Who, "what": f.What, "of": f.Of, "text": f.Text} {
		if text != "" {
			q.Set(name, text)
		}
	}
	q.Set("page", strconv.Itoa(page))
	return "/console/audit?" + q.Encode()
}
