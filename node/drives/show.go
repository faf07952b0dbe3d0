package drives

import (
	"cmp"
	"slices"

	"kith/bench/disk"
	"kith/storage/governor"
)

// View is a drive as people see it.
type View struct {
	Drive     disk.Drive
	SMART     disk.SMART
	Speed     *disk.Result
	Failed    string // why it could not be measured
	Make      *disk.Make
	State     governor.State
	Limits    governor.Limits
	Stats     governor.Stats
	Decisions []governor.Decision // newest last
	InUse     []string            // paths on it
}

// List shows every drive: those in use first, then by name. blind says why the kernel's log is not heard, "" if it is.
func (k *Keeper) List() (list []View, blind string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list = []View{}
	for id, d := range k.drives {
		r := d.report()
		v := View{
			Drive: d.Drive, SMART: d.SMART, Speed: d.Speed, Failed: d.Failed, Make: r.Make, State: d.State, Limits: d.device.Limits(),
			Stats: d.device.Stats(), Decisions: slices.Clone(d.Decisions), InUse: []string{},
		}
		for path, of := range k.paths {
			if of == id {
				v.InUse = append(v.InUse, path)
			}
		}
		slices.Sort(v.InUse)
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b View) int {
		return cmp.Or(cmp.Compare(min(len(b.InUse), 1), min(len(a.InUse), 1)), cmp.Compare(a.Drive.Name, b.Drive.Name), cmp.Compare(a.Drive.ID, b.Drive.ID))
	})
	return list, k.blind
}
