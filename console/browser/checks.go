// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"fmt"
	"slices"
	"testing"
)

// Check looks at the page as it is, at 1280 and at 360 pixels, in light and in dark: every
// control has a name for a screen reader, text has the contrast of WCAG 2.2 AA (1.4.3), and
// nothing scrolls sideways. With MILLRACE_SCREENSHOTS it takes pictures under the name.
func (p *Page) Check(t testing.TB, name string) {
	t.Helper()
	for _, width := range []int64{1280, 360} {
		p.Size(t, width, 900)
		for _, dark := range []bool{false, true} {
			p.Dark(t, dark)
			p.drawn(t)
			look := fmt.Sprintf("%s-%d-%s", name, width, map[bool]string{false: "light", true: "dark"}[dark])
			p.Screenshot(t, look)
			if width == 360 {
				continue // the colours are those of the wide page
			}
			for _, problem := range p.contrast(t) {
				t.Errorf("%s: contrast: %s", look, problem)
			}
		}
		var over []string
		p.Eval(t, sideways, &over)
		if len(over) > 0 {
			t.Errorf("%s at %d pixels scrolls sideways: %v", name, width, over)
		}
		for _, problem := range p.nameless(t) {
			t.Errorf("%s at %d pixels: %s", name, width, problem)
		}
	}
	p.Size(t, 1280, 900)
	p.Dark(t, false)
	p.drawn(t) // so that what is pressed next does not move any more
}

// controls are the roles that need a name.
var controls = []string{"button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox", "spinbutton", "slider", "switch", "tab", "menuitem", "img", "application", "dialog", "progressbar", "region", "group"}

// axNode is a node of the accessibility tree.
type axNode struct {
	Ignored bool `json:"ignored"`
	Role    struct {
		Value string `json:"value"`
	} `json:"role"`
	Name struct {
		Value string `json:"value"`
	} `json:"name"`
	BackendDOMNodeID int64 `json:"backendDOMNodeId"`
}

// nameless are the controls that a screen reader cannot name.
func (p *Page) nameless(t testing.TB) (problems []string) {
	t.Helper()
	var tree struct {
		Nodes []axNode `json:"nodes"`
	}
	if err := p.call("Accessibility.getFullAXTree", struct{}{}, &tree); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, n := range tree.Nodes {
		if n.Ignored || !slices.Contains(controls, n.Role.Value) {
			continue
		}
		seen++
		if n.Name.Value == "" && n.Role.Value != "group" {
			problems = append(problems, fmt.Sprintf("a %s has no name (node %d)", n.Role.Value, n.BackendDOMNodeID))
		}
	}
	if seen == 0 {
		t.Errorf("the accessibility tree has no control among %d nodes", len(tree.Nodes))
	}
	return problems
}

func (p *Page) contrast(t testing.TB) (problems []string) {
	t.Helper()
	var found struct {
		Problems []string `json:"problems"`
		Texts    int      `json:"texts"`
	}
	p.Eval(t, contrast, &found)
	if found.Texts == 0 {
		t.Error("the page has no text")
	}
	return found.Problems
}

// sideways lists what makes a page wider than it should be.
const sideways = `(() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [document.documentElement.scrollWidth + " > " + width, ...[...document.body.querySelectorAll("*")]
    .filter((e) => e.getBoundingClientRect().right > width + 1 && !e.closest(".scroll, pre")).slice(0, 5)
    .map((e) => e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 40))];
})()`

// contrast computes the contrast of every text that is seen, as WCAG 2.2 defines it: from
// the colours that apply, with those that shine through. Large text (24 px, or 18.66 px and
// bold) needs 3, other text 4.5.
const contrast = `(async () => {
  await Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {})));
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const parsed = new Map();
  const rgba = (css) => {
    if (!parsed.has(css)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = css;
      canvas.fillRect(0, 0, 1, 1);
      const d = canvas.getImageData(0, 0, 1, 1).data;
      parsed.set(css, [d[0], d[1], d[2], d[3] / 255]);
    }
    return parsed.get(css);
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const problems = [];
  let texts = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    const text = walk.currentNode.data.trim();
    if (!text || e.closest("script, style, noscript, .hidden, option") || !e.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const box = e.getBoundingClientRect();
    if (box.width < 2 || box.right < 0 || e.closest(":disabled")) continue;
    texts++;
    const style = getComputedStyle(e);
    const under = back(e);
    const inSVG = e.closest("svg text");
    const front = over(rgba(inSVG ? style.fill : style.color), under);
    const [a, b] = [light(front), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const need = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if (!inSVG && ratio < need) problems.push(ratio.toFixed(2) + " < " + need + ": " + e.tagName + "." + e.className + " " + text.slice(0, 40));
  }
  return { problems: problems.slice(0, 10), texts };
})()`
