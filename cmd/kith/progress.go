package main

import (
	"fmt"
	"strings"
	"time"

	"kith/node/api"
)

// progress shows how something advances: on a terminal as one line that is drawn again, elsewhere as a line now and then.
type progress struct {
	app   *app
	last  string
	at    time.Time
	drawn bool
}

const barWidth = 24

// job shows a job; over says that this is its end.
func (p *progress) job(j api.JobDetail, over bool) {
	done := int(j.Progress * barWidth)
	text := fmt.Sprintf("%s %3d %%  %s  %d/%d tasks, %d running", short(j.ID), int(j.Progress*100), j.State, j.Tasks.Done, j.Tasks.Total, j.Tasks.Running)
	if j.Rate > 0 {
		text += fmt.Sprintf("  %s/s", bytesText(j.Rate))
	}
	if j.ETAMillis > 0 {
		text += fmt.Sprintf("  %s left", durationText(millis(j.ETAMillis)))
	}
	if j.Reason != nil && !over {
		text += "  " + printable(j.Reason.Words)
	}
	p.draw(strings.Repeat("█", done)+strings.Repeat("░", max(0, barWidth-done))+" "+text, text, over)
}

// reading shows the reading of an input.
func (p *progress) reading(i api.Import) {
	text := fmt.Sprintf("reading %d files, %s", i.Files, bytesText(i.Bytes))
	if i.TotalBytes > 0 {
		text += " of " + bytesText(i.TotalBytes)
	}
	p.draw(text, text, false)
}

func (p *progress) draw(fancy, plain string, over bool) {
	a := p.app
	switch {
	case a.cli.Quiet || a.cli.JSON:
	case a.term.tty:
		if fancy != p.last {
			a.term.redraw(fancy)
			p.drawn = true
		}
	case over || (plain != p.last && time.Since(p.at) >= plainEvery):
		fmt.Fprintln(a.stderr, plain)
		p.at = time.Now()
	}
	p.last = fancy
}

// end leaves the terminal on a line of its own.
func (p *progress) end() {
	if p.drawn {
		p.app.term.redraw("")
		p.drawn = false
	}
}
