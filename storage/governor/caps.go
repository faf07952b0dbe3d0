package governor

import "strconv"

// Cap is the limits of one block device as Linux control groups want them, for the group of the tasks. What tasks read
// and write by themselves passes no Device of ours; the kernel holds them to it.
type Cap struct {
	Major, Minor        uint32
	ReadBytes, ReadOps  int64 // a second; 0: no limit
	WriteBytes, WritOps int64
}

// CapFor makes the cap of a device under limits.
func CapFor(major, minor uint32, l Limits) Cap {
	return Cap{major, minor, l.ReadBytes, int64(l.ReadOps), l.WriteBytes, int64(l.WriteOps)}
}

func (c Cap) device() string {
	return strconv.FormatUint(uint64(c.Major), 10) + ":" + strconv.FormatUint(uint64(c.Minor), 10)
}

// IOMax is the line for io.max of a version 2 group.
func (c Cap) IOMax() string {
	line := c.device()
	for _, f := range []struct {
		key string
		n   int64
	}{{"rbps", c.ReadBytes}, {"wbps", c.WriteBytes}, {"riops", c.ReadOps}, {"wiops", c.WritOps}} {
		value := "max"
		if f.n > 0 {
			value = strconv.FormatInt(f.n, 10)
		}
		line += " " + f.key + "=" + value
	}
	return line
}

// BlkIO is, by the name of the file, the lines for a version 1 group. 0 takes a limit away.
func (c Cap) BlkIO() map[string]string {
	out := map[string]string{}
	for file, n := range map[string]int64{
		"blkio.throttle.read_bps_device": c.ReadBytes, "blkio.throttle.write_bps_device": c.WriteBytes,
		"blkio.throttle.read_iops_device": c.ReadOps, "blkio.throttle.write_iops_device": c.WritOps,
	} {
		out[file] = c.device() + " " + strconv.FormatInt(n, 10)
	}
	return out
}
