package node

import (
	"kith/storage/governor"
)

// watchDrives shows the worst of the drives in use as lasting problems.
func (n *Node) watchDrives() {
	list, _ := n.drives.List()
	var failing, lowered []any
	for _, v := range list {
		switch {
		case len(v.InUse) == 0:
		case v.State.Grade == governor.Failing && failing == nil:
			failing = []any{v.Drive.Title(), v.State.Why[0]}
		case v.State.Level > 0 && lowered == nil:
			lowered = []any{v.Drive.Title(), v.State.Text}
		}
	}
	n.health.When(failing != nil, driveFailing, failing...)
	n.health.When(lowered != nil, driveLowered, lowered...)
}
