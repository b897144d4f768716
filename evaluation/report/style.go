// SPDX-License-Identifier: Apache-2.0

package report

import "html/template"

// Style is the style sheet of reports, for other documents that look alike: light and dark,
// from 360 px on, in print.
func Style() template.CSS { return template.CSS(pageStyle) }

// Visible makes a text that comes from data one line without anything that a terminal or a
// page would obey, of at most 400 characters.
func Visible(s string) string { return visible(s) }
