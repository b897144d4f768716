// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
)

const (
	// studioProgramVariable names the program of Label Studio, if it is not in the path.
	studioProgramVariable = "LABEL_STUDIO"

	studioOperator, studioLabeller = "ada-0123456789abcdef", "studio-0123456789ab"

	// studioUserToken is the token of the only user of the Label Studio that the test starts.
	studioUserToken = "0123456789abcdef0123456789abcdef01234567"
)

// studioProjects are projects of every kind, beside one of decisions.
const studioProjects = `
  tags:
    overlap: 2
    labels: {kind: multiple, labels: [urgent, 'genuine & <b>', "it's \"odd\""]}
  amount:
    labels: {kind: number, min: -5, max: 1000.5}
  free:
    labels: {kind: number}
  parts:
    labels: {kind: spans, text: note, labels: [{name: person, key: p}, place]}
`

// TestLabelStudio lets a Label Studio that is installed work with projects of every kind,
// and imports what it exports: into the projects that its webhooks told already, where
// nothing changes, and into new ones, which hold the same then.
func TestLabelStudio(t *testing.T) {
	if os.Getenv(clientsVariable) != "all" {
		t.Skipf("starts Label Studio, which takes half a minute; %s=all runs it", clientsVariable)
	}
	program := os.Getenv(studioProgramVariable)
	if program == "" {
		program = "label-studio"
	}
	program, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("Label Studio is not installed (pip install label-studio==1.23.2 and %s): %v", studioProgramVariable, err)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	address, out := startStudio(t, program), t.TempDir()
	server := startProject(t, studioProject(t))
	c := &labelCaller{t: t, base: "http://" + server.addresses["http"], token: studioOperator}
	decideStudio(t, c)
	cmd := exec.CommandContext(t.Context(), python, clientFile("labelstudio_check.py"))
	cmd.Env = append(os.Environ(), "STUDIO_URL=http://"+address, "STUDIO_TOKEN="+studioUserToken, "MILLRACE_URL="+strings.Replace(c.base, "127.0.0.1", "localhost", 1),
		"OUT="+out, "MILLRACE_OPERATOR="+studioOperator, "MILLRACE_LABELLER="+studioLabeller)
	t.Logf("%s", foreigntest.Run(t, cmd))

	fresh := startProject(t, studioProject(t))
	other := &labelCaller{t: t, base: "http://" + fresh.addresses["http"], token: studioOperator}
	for _, project := range []string{"review", "tags", "amount", "free", "parts"} {
		file := filepath.Join(out, project+".json")
		before := saidIn(c, project)
		for _, to := range []*labelCaller{c, other} {
			saying(t, exitOK, "label", "import", file, "--server", strings.TrimPrefix(to.base, "http://"), "--token", to.token, "--project", project)
		}
		if after := saidIn(c, project); len(before) < 4 || !slices.Equal(before, after) {
			t.Errorf("%s: an import of what the webhook told changes\n%q\ninto\n%q", project, before, after)
		}
		// A starred annotation makes gold of a task that is new: it is held apart.
		missing := slices.DeleteFunc(slices.Clone(before), func(one string) bool { return slices.Contains(saidIn(other, project), one) })
		if gold := goldIn(other, project); len(missing) != 1 || len(gold) != 1 || !strings.HasPrefix(missing[0], gold[0]+" ") {
			t.Errorf("%s: a new project lacks %q, and has %q as gold", project, missing, gold)
		}
	}
}

// saidIn is what people said in a project, sorted, but for a task that is annotated after
// the file is written.
func saidIn(c *labelCaller, project string) (all []string) {
	var page labelReply
	c.call("GET", labelPath+"/"+project+"/tasks?limit=1000", "", &page)
	for _, task := range page.Tasks {
		for _, a := range task.Annotations {
			value, err := json.Marshal(a.Value)
			if err != nil {
				c.t.Fatal(err)
			}
			if task.ID != "parts-4" {
				all = append(all, strings.Join([]string{task.ID, a.Annotator, a.Kind, string(value), a.Comment}, " "))
			}
		}
	}
	slices.Sort(all)
	return all
}

// goldIn are the tasks of a project that are gold.
func goldIn(c *labelCaller, project string) (all []string) {
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+labelPath+"/"+project+"/export", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var tasks []struct {
		Meta        map[string]string
		Annotations []struct {
			Star bool `json:"ground_truth"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&tasks); err != nil {
		c.t.Fatal(err)
	}
	for _, task := range tasks {
		for _, a := range task.Annotations {
			if a.Star {
				all = append(all, task.Meta["millrace_id"])
			}
		}
	}
	return all
}

// studioProject is a project with tokens.
func studioProject(t *testing.T) string {
	t.Helper()
	dir := labelProject(t, fmt.Sprintf("console:\n  tokens:\n    ada: {role: operator, token: %s}\n    studio: {role: labeller, token: %s}\n", studioOperator, studioLabeller))
	file := filepath.Join(dir, "labeling.yaml")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(text, studioProjects[1:]...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// decideStudio makes tasks: of decisions, and of files.
func decideStudio(t *testing.T, c *labelCaller) {
	t.Helper()
	decideOrders(t, strings.TrimPrefix(c.base, "http://"), 20)
	if status := c.call("POST", reviewPath+"/select", `{"count": 6}`, nil); status != http.StatusOK {
		t.Fatalf("select: %d", status)
	}
	for _, project := range []string{"tags", "amount", "free", "parts"} {
		var tasks strings.Builder
		for i := range 5 {
			id, guess := fmt.Sprintf("%s-%d", project, i), ""
			if project == "parts" {
				guess = `, "predictions": [{"model_version": "m1", "score": 0.7, "result": [{"from_name": "label", "to_name": "item", "type": "labels", "value": {"start": 2, "end": 5, "text": "Ada", "labels": ["person"]}}]}]`
			}
			fmt.Fprintf(&tasks, `{"data": {"note": "😀 Ada isé in Rome, %d <b>", "price": 1.50, "prediction_id": %q}, "meta": {"millrace_id": %q}%s}`, i, id, id, guess)
		}
		var sum importAnswer
		if status := c.call("POST", labelPath+"/"+project+"/import", tasks.String(), &sum); status != http.StatusOK || sum.New != 5 {
			t.Fatalf("import: %d %+v", status, sum)
		}
	}
}

// startStudio starts Label Studio with a new database; it ends with the test.
func startStudio(t *testing.T, program string) (address string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	free.Close()
	data := t.TempDir()
	log, err := os.Create(filepath.Join(data, "studio.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "start", "--no-browser", "--port", port, "--internal-host", "127.0.0.1", "--data-dir", data,
		"--username", "ada@example.com", "--password", "correct-horse-9", "--user-token", studioUserToken, "--enable-legacy-api-token")
	cmd.Stdout, cmd.Stderr = log, log
	// Without these it reaches for other hosts, and for none on the machine itself.
	cmd.Env = append(os.Environ(), "HOME="+data, "COLLECT_ANALYTICS=False", "LATEST_VERSION_CHECK=False", "SENTRY_DSN=", "FRONTEND_SENTRY_DSN=",
		"ML_BLOCK_LOCAL_IP=False", "SSRF_PROTECTION_ENABLED=False", "WEBHOOK_TIMEOUT=30")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended if this fails
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("Label Studio wrote\n%s", text[max(0, len(text)-4000):])
		}
		log.Close()
	})
	return address
}
