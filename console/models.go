// SPDX-License-Identifier: Apache-2.0

package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/orchestrator"
)

// versionsMax bounds the versions that are not loaded of one page.
const versionsMax = 200

// modelRow is a model with its traffic.
type modelRow struct {
	repository.ModelInfo
	Rates rates
	// OnDisk are versions in the repository that are not loaded, the highest first.
	OnDisk []int64
}

// newest are the last of a list in order of time, turned around.
func newest(all []*orchestrator.RunStatus, limit int) []*orchestrator.RunStatus {
	last := slices.Clone(all[max(0, len(all)-limit):])
	slices.Reverse(last)
	return last
}

func (c *Console) modelRows() []modelRow {
	if c.options.Models == nil {
		return nil
	}
	now := c.traffic.latest()
	var rows []modelRow
	for _, m := range c.options.Models.Models() {
		if len(rows) == modelsMax {
			break
		}
		rows = append(rows, modelRow{ModelInfo: m, Rates: now.Models[m.Name], OnDisk: c.onDisk(m)})
	}
	return rows
}

// onDisk finds versions that a server could load.
func (c *Console) onDisk(m repository.ModelInfo) []int64 {
	if c.options.ModelsDir == "" {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(c.options.ModelsDir, filepath.Base(m.Name)))
	if err != nil {
		return nil
	}
	var numbers []int64
	for _, e := range entries {
		n, err := strconv.ParseInt(e.Name(), 10, 64)
		known := slices.ContainsFunc(m.Versions, func(v repository.VersionInfo) bool { return v.Number == n })
		if err == nil && e.IsDir() && !known {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	return numbers[:min(len(numbers), versionsMax)]
}

func (c *Console) models(w http.ResponseWriter, r *http.Request) error {
	return c.render(w, r, http.StatusOK, "models", c.modelRows())
}

// find is the model of a request's path.
func (c *Console) find(r *http.Request) (*modelRow, error) {
	name := r.PathValue("model")
	for _, row := range c.modelRows() {
		if row.Name == name {
			return &row, nil
		}
	}
	return nil, notFound("There is no model %q.", name)
}

// modelPage is a model with what happened to it.
type modelPage struct {
	modelRow
	Rows []versionRow
	// Decisions use the model, Monitors watch those.
	Decisions, Monitors []string
	Metrics             []string
	Audit               []Entry
}

func (c *Console) model(w http.ResponseWriter, r *http.Request) error {
	row, err := c.find(r)
	if err != nil {
		return err
	}
	page := modelPage{modelRow: *row, Decisions: c.decisionsOn(row.Name)}
	if page.Monitors, err = c.monitorsOf(page.Decisions...); err != nil {
		return err
	}
	if err := c.addVersions(&page); err != nil {
		return err
	}
	entries, err := c.options.Audit.Entries(auditMax)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Subject == row.Name && len(page.Audit) < auditPageRows {
			page.Audit = append(page.Audit, e)
		}
	}
	return c.render(w, r, http.StatusOK, "model", page)
}

// cardPath is where the card of a version lies. The model is one that is served, so its
// name is no way out of the folder.
func (c *Console) cardPath(model string, number int64) string {
	return filepath.Join(c.options.ModelsDir, filepath.Base(model), strconv.FormatInt(number, 10), "card.html")
}

func (c *Console) hasCard(model string, number int64) bool {
	_, err := os.Stat(c.cardPath(model, number))
	return c.options.ModelsDir != "" && err == nil
}

func (c *Console) card(w http.ResponseWriter, r *http.Request) error {
	row, err := c.find(r)
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(r.PathValue("version"), 10, 64)
	if err != nil {
		return invalid("A version is a number.")
	}
	return c.document(w, c.cardPath(row.Name, number), fmt.Sprintf("Version %d of %s has no card.", number, row.Name))
}

// document serves a page of its own, such as a report, which may use inline styles and may
// do nothing else.
func (c *Console) document(w http.ResponseWriter, path, missing string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return notFound("%s", missing)
	} else if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", documentPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err = w.Write(text)
	return err
}

// swapTimeout bounds a swap: loading may take long, draining too.
const swapTimeout = 5 * time.Minute

func (c *Console) swap(w http.ResponseWriter, r *http.Request) error {
	row, err := c.find(r)
	if err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return invalid("The form cannot be read.")
	}
	number, err := strconv.ParseInt(r.PostForm.Get("version"), 10, 64)
	if err != nil || number < 1 {
		return invalid("Which version? %q is no number above 0.", r.PostForm.Get("version"))
	}
	ctx, cancel := detached(r, swapTimeout)
	defer cancel()
	e := Entry{Action: "swap", Subject: row.Name, Link: "/console/models/" + url.PathEscape(row.Name)}
	return c.act(w, r, e, func() (string, error) {
		result, err := c.options.Models.SwapVersion(ctx, row.Name, number, true)
		return fmt.Sprintf("version %d in place of %d", number, result.From), err
	})
}

func (c *Console) rollback(w http.ResponseWriter, r *http.Request) error {
	row, err := c.find(r)
	if err != nil {
		return err
	}
	ctx, cancel := detached(r, swapTimeout)
	defer cancel()
	e := Entry{Action: "rollback", Subject: row.Name, Link: "/console/models/" + url.PathEscape(row.Name)}
	return c.act(w, r, e, func() (string, error) {
		result, err := c.options.Models.Rollback(ctx, row.Name)
		return fmt.Sprintf("back to version %d from %d", result.To, result.From), err
	})
}
