// SPDX-License-Identifier: Apache-2.0

package console

// relatedMax bounds the links to what belongs to a model or a decision.
const relatedMax = 20

// decisionsOn are the decisions that a model answers, by name.
func (c *Console) decisionsOn(model string) (names []string) {
	if c.options.Decisions == nil {
		return nil
	}
	for _, d := range c.options.Decisions.Decisions() {
		if d.Model == model && len(names) < relatedMax {
			names = append(names, d.Name())
		}
	}
	return names
}

// monitorsOf are the monitors that watch one of some decisions, by name.
func (c *Console) monitorsOf(decisions ...string) (names []string, err error) {
	if c.options.Monitors == nil {
		return nil, nil
	}
	all, err := c.options.Monitors.Monitors()
	for _, m := range all {
		for _, d := range decisions {
			if m.Decision == d && len(names) < relatedMax {
				names = append(names, m.Name)
				break
			}
		}
	}
	return names, err
}
