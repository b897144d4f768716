// SPDX-License-Identifier: Apache-2.0

package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"regexp"

	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/serving/access"
)

// Labeling is what the console needs of the labelling store; *labeling.Store has it, and so
// has what wraps one to hear of finished tasks. Its methods may be called at once.
type Labeling interface {
	Projects() []labeling.Project
	Project(name string) (labeling.Project, error)
	Counts(project string) (labeling.Counts, error)
	Task(project, id string) (labeling.TaskView, error)
	Tasks(project string, status labeling.Status, offset, limit int) (page []labeling.TaskView, next int, err error)

	Lease(ctx context.Context, project, annotator string, count int) ([]labeling.Assignment, error)
	Renew(ctx context.Context, project, name string) (int, error)
	Submit(ctx context.Context, in labeling.Submission) (labeling.Result, error)
	Skip(ctx context.Context, project, task, annotator, comment string) (labeling.Result, error)
	Postpone(ctx context.Context, project, task, annotator string) (labeling.Result, error)
	Undo(ctx context.Context, project, annotator, task string) (labeling.Assignment, error)

	LeaseReview(ctx context.Context, project, reviewer string, count int) ([]labeling.Assignment, error)
	Review(ctx context.Context, in labeling.Submission) (labeling.Result, error)
	Reopen(ctx context.Context, project, task, reviewer string) (labeling.Result, error)
}

var _ Labeling = (*labeling.Store)(nil)

// labelingRoutes adds the pages of what people label.
func (c *Console) labelingRoutes(mux access.Mux) {
	mux.Handle("GET /console/labeling", c.secure(Viewer, c.labelingPage))
	mux.Handle("POST /console/labeling", c.secure(Labeller, c.nameLabeller))
	for path, review := range map[string]bool{"/console/labeling/{project}": false, "/console/labeling/{project}/review": true} {
		mux.Handle("GET "+path, c.secure(Labeller, func(w http.ResponseWriter, r *http.Request) error { return c.labelPage(w, r, review) }))
		mux.Handle("POST "+path+"/sync", c.limited(syncBytesMax, c.guarded(Labeller, func(w http.ResponseWriter, r *http.Request) error {
			return c.sync(w, r, review)
		})))
	}
}

// labellerCookie has the name under which somebody labels who need not sign in.
const labellerCookie = "millrace_labeller"

// nameFits are the names that the labelling store takes.
var nameFits = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9_.@+-]{1,%d}$`, labeling.NameBytesMax))

// labeller is the name under which somebody labels: that of the session, or where nobody
// signs in, the one that the browser was told once.
func (c *Console) labeller(r *http.Request) (string, error) {
	s := c.sessions.of(r)
	if s.id == "" {
		if cookie, err := r.Cookie(labellerCookie); err == nil && nameFits.MatchString(cookie.Value) {
			return cookie.Value, nil
		}
		return s.who, nil
	}
	if !nameFits.MatchString(s.who) {
		return "", &problem{http.StatusConflict, fmt.Sprintf("The token's name %q cannot be an annotator's: use letters, digits and _.@+- in console.tokens.", s.who)}
	}
	return s.who, nil
}

// nameLabeller keeps the name under which somebody labels who need not sign in.
func (c *Console) nameLabeller(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return invalid("The form cannot be read.")
	}
	name := r.PostForm.Get("name")
	switch {
	case c.sessions.of(r).id != "":
		return invalid("You label under the name that you signed in with.")
	case !nameFits.MatchString(name):
		return invalid("A name has 1 to %d letters, digits and _.@+-, and %q has not.", labeling.NameBytesMax, shorten(name, 80))
	}
	http.SetCookie(w, &http.Cookie{
		Name: labellerCookie, Value: name, Path: "/console/labeling", MaxAge: 365 * 24 * 3600, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, "/console/labeling", http.StatusSeeOther)
	return nil
}

// projectRow is a project on the page of all.
type projectRow struct {
	labeling.Project
	labeling.Counts
	Agreement agreed
}

// Heading is what people read: the title, if the project has one.
func (p *projectRow) Heading() string { return cmp.Or(p.Project.Title, p.Project.Name) }

// Total is the number of tasks, gold left out.
func (p *projectRow) Total() int { return p.Open + p.Counts.Review + p.Done }

// projectsPage is the page of all projects.
type projectsPage struct {
	Projects []projectRow
	// Named says that the name can be chosen, as nobody signs in.
	Named bool
	Name  string
}

// projectsMax bounds the projects on the page.
const projectsMax = 100

func (c *Console) labelingPage(w http.ResponseWriter, r *http.Request) error {
	page := projectsPage{Named: c.sessions.of(r).id == ""}
	page.Name, _ = c.labeller(r) // a name that cannot label is told where it would
	all := c.options.Labeling.Projects()
	for _, p := range all[:min(len(all), projectsMax)] {
		counts, err := c.options.Labeling.Counts(p.Name)
		if err != nil {
			return err
		}
		page.Projects = append(page.Projects, projectRow{Project: p, Counts: counts, Agreement: c.agreements.of(c.options.Labeling, &p, c.options.Now())})
	}
	return c.render(w, r, http.StatusOK, "labeling", page)
}
