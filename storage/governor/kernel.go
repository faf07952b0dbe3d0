package governor

import (
	"strconv"
	"strings"
)

// Event is what one line of the kernel's log says about a drive.
type Event struct {
	Cause Cause
	// Device is the kernel's name of the drive or partition (sdb, sdb1, nvme0n1, nvme0); or else Port is the place it is
	// plugged in: "usb 1-2" or "ata3".
	Device, Port string
	Text         string
	// Micros is when the line was written, in microseconds since the machine was started.
	Micros int64
}

const maxLine = 1 << 10 // bytes of a message that are looked at

// ParseKernel reads a record of /dev/kmsg ("6,339,5140900,-;NET: …") and reports whether it tells of trouble with a
// drive. Records come from the kernel but may quote what programs and devices wrote.
func ParseKernel(record string) (Event, bool) {
	head, text, ok := strings.Cut(record, ";")
	if !ok {
		return Event{}, false
	}
	fields := strings.Split(head, ",")
	if len(fields) < 3 {
		return Event{}, false
	}
	level, err := strconv.Atoi(fields[0])
	if err != nil || level < 0 || level>>3 != 0 { // other facilities are programs that write to the kernel's log
		return Event{}, false
	}
	micros, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || micros < 0 {
		return Event{}, false
	}
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > maxLine {
		text = text[:maxLine]
	}
	e, ok := parseMessage(strings.ToValidUTF8(text, "?"))
	e.Micros = micros
	return e, ok
}

// parseMessage looks for the phrases of the block layer, its drivers and the file systems.
func parseMessage(text string) (Event, bool) {
	e := Event{Text: text}
	lower := strings.ToLower(text)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(lower, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("medium error, dev ", "sense key : medium error"):
		e.Cause, e.Device = MediumError, after(text, "dev ")
		if !has("error, dev ") {
			e.Device = bracketed(text)
		}
	case has("i/o error, dev ", "i/o error on dev ", "timeout error, dev ", "target error, dev ", "protection error, dev ", "lost async page write"):
		e.Cause, e.Device = IOError, after(text, "dev ")
	case has("remounting filesystem read-only", "forced readonly"):
		e.Cause, e.Device = ReadOnly, bracketed(text)
	case has("ext4-fs error", "xfs (", "btrfs error", "btrfs: error", "fat-fs (", "exfat-fs (", "f2fs-fs (") && has("error", "corrupt"):
		e.Cause, e.Device = IOError, bracketed(text)
	case strings.HasPrefix(lower, "usb ") && has(": reset "):
		e.Cause, e.Port = LinkReset, "usb "+word(text[4:])
	case strings.HasPrefix(lower, "usb ") && has("usb disconnect"):
		e.Cause, e.Port = Vanished, "usb "+word(text[4:])
	case strings.HasPrefix(lower, "ata") && has("hard resetting link", "soft resetting link", "exception emask", "link is slow to respond", "limiting sata link speed"):
		port := word(text)
		port, _, _ = strings.Cut(port, ".")
		e.Cause, e.Port = LinkReset, strings.ToLower(port)
	case strings.HasPrefix(lower, "nvme ") && has("timeout, ", "controller is down", "resetting controller", "reset controller"):
		e.Cause, e.Device = LinkReset, word(text[5:])
	case strings.HasPrefix(lower, "nvme ") && has("device not ready", "removing after probe failure", "disabling device"):
		e.Cause, e.Device = Vanished, word(text[5:])
	}
	if e.Cause == "" || e.Device == "" && (e.Port == "" || e.Port == "usb ") {
		return Event{}, false
	}
	return e, true
}

// after returns the name that follows a word.
func after(text, lead string) string {
	_, rest, ok := strings.Cut(text, lead)
	if !ok {
		return ""
	}
	return word(rest)
}

// bracketed returns the first device in (sdb1), (device sdb1) or [sdb].
func bracketed(text string) string {
	i := strings.IndexAny(text, "([")
	if i < 0 {
		return ""
	}
	return word(strings.TrimPrefix(text[i+1:], "device "))
}

// word returns the letters, digits and what names of devices have besides, up to the first other character.
func word(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '.' && r != '_' && r != '!'
	})
	if end < 0 {
		end = len(s)
	}
	return strings.TrimRight(s[:min(end, 64)], ".-")
}
