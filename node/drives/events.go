package drives

import (
	"fmt"
	"slices"
	"strings"
)

// eventIDs lists the numbers of the events in a text of wevtutil.
func eventIDs(text string) (ids []string) {
	for line := range strings.Lines(text) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "Event ID:"); ok {
			if id = strings.TrimSpace(id); id != "" && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// recordsOf gives events of the Windows log the form of kernel records, so that there is one reader of both. micros is
// the time of the first; each following one is a microsecond later.
func recordsOf(text string, micros int64) (out []string) {
	for event := range strings.SplitSeq(text, "Event[") {
		id, device := "", ""
		if ids := eventIDs(event); len(ids) > 0 {
			id = ids[0]
		}
		// "The device, \Device\Harddisk1\DR1, has a bad block.": the number is that of PhysicalDrive1.
		if _, rest, ok := strings.Cut(event, `\Harddisk`); ok {
			n := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
			device = "PhysicalDrive" + rest[:n]
		} else if _, rest, ok := strings.Cut(event, `\RaidPort`); ok {
			n := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
			device = "RaidPort" + rest[:n]
		}
		words := map[string]string{
			"7": "critical medium error, dev %s (event 7: bad block)", "11": "I/O error, dev %s (event 11: controller error)",
			"51": "I/O error, dev %s (event 51: paging)", "153": "I/O error, dev %s (event 153: retried)",
			"129": "I/O error, dev %s (event 129: reset)", "50": "I/O error, dev %s (event 50: delayed write lost)", "55": "I/O error, dev %s (event 55: file system damaged)",
		}[id]
		if words == "" || device == "" {
			continue
		}
		out = append(out, fmt.Sprintf("3,0,%d,-;"+words, micros+int64(len(out)), device))
	}
	return out
}
