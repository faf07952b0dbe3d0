package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"plot": plot, "bars": bars, "mib": func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) },
}).Parse(pageText))

// HTML writes one or more reports as a page that needs nothing but itself: no script, no other file, no network.
func HTML(w io.Writer, reports ...*Report) error {
	passed := 0
	for _, r := range reports {
		if r.Passed {
			passed++
		}
	}
	return page.Execute(w, map[string]any{"Reports": reports, "Passed": passed})
}

// Size of a plot in its own units.
const (
	plotW, plotH          = 460.0, 190.0
	left, right, top, low = 52.0, 10.0, 10.0, 26.0
)

// plot draws a curve as SVG.
func plot(c Curve) template.HTML {
	if len(c.Points) < 2 {
		return template.HTML(`<p class="quiet">too short to draw</p>`)
	}
	first, last := c.Points[0][0], c.Points[len(c.Points)-1][0]
	most := 0.0
	for _, p := range c.Points {
		most = math.Max(most, p[1])
	}
	most = nice(most)
	x := func(t float64) float64 { return left + (plotW-left-right)*(t-first)/math.Max(last-first, 1e-9) }
	y := func(v float64) float64 { return plotH - low - (plotH-top-low)*v/most }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s over time">`, plotW, plotH, template.HTMLEscapeString(c.Name))
	for i := range 5 {
		v := most * float64(i) / 4
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`,
			left, plotW-right, y(v), y(v), left-6, y(v)+4, short(v))
		t := first + (last-first)*float64(i)/4
		anchor := "middle"
		if i == 4 {
			anchor = "end"
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="%s">%s</text>`, x(t), plotH-8, anchor, clock(t))
	}
	b.WriteString(`<polyline class="curve" points="`)
	for _, p := range c.Points {
		fmt.Fprintf(&b, "%.1f,%.1f ", x(p[0]), y(math.Min(p[1], most)))
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String())
}

// bars draws the traffic by protocol.
func bars(list []Traffic) template.HTML {
	most := int64(1)
	for _, t := range list {
		most = max(most, t.Bytes)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %d" role="img" aria-label="traffic by protocol">`, plotW, 26*len(list)+8)
	for i, t := range list {
		w := (plotW - 200) * float64(t.Bytes) / float64(most)
		fmt.Fprintf(&b, `<text x="82" y="%d" text-anchor="end">%s</text><rect class="bar" x="90" y="%d" width="%.1f" height="16"/><text x="%.1f" y="%d">%.1f MiB</text>`,
			26*i+18, template.HTMLEscapeString(t.Protocol), 26*i+5, w, 96+w, 26*i+18, float64(t.Bytes)/(1<<20))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// nice rounds the top of an axis up to 1, 2 or 5 times a power of ten.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5, 10} {
		if v <= m*p*1.0000001 {
			return m * p
		}
	}
	return 10 * p
}

func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}

func clock(s float64) string {
	switch {
	case s >= 2*86400:
		return fmt.Sprintf("%.3gd", s/86400)
	case s >= 2*3600:
		return fmt.Sprintf("%.3gh", s/3600)
	case s >= 120:
		return fmt.Sprintf("%.3gm", s/60)
	}
	return fmt.Sprintf("%.3gs", s)
}
