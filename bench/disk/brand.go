package disk

import (
	"regexp"
	"slices"
)

// Make is a family of drives that is known to suffer from something. It is a guess by name, for a drive whose own figures
// say nothing yet; what was measured counts more.
type Make struct {
	Match   string `json:"match"`           // regular expression over the model, without case
	Kinds   []Kind `json:"kinds,omitempty"` // empty: any
	Words   string `json:"words"`           // what it suffers from
	Source  string `json:"source"`          // who says so
	Note    bool   `json:"note,omitempty"`  // worth a word to people, and no lower grade
	pattern *regexp.Regexp
}

// makes is the published table.
var makes = compiled([]Make{
	{
		Match: `WD(20|30|40|60)EFAX`, Kinds: []Kind{HDD, USB},
		Words:  "shingled: long writes fall to a fraction of their speed",
		Source: "Western Digital, On WD Red NAS Drives, April 2020: the EFAX models of 2 to 6 TB use drive-managed SMR",
	},
	{
		Match: `ST(1000LM048|1000LM035|2000LM015|3000LM024|4000LM024|5000LM000|2000DM005|2000DM008|3000DM007|4000DM004|5000DM000|6000DM003|8000DM004|8000AS000[12])`, Kinds: []Kind{HDD, USB},
		Words:  "shingled: long writes fall to a fraction of their speed",
		Source: "Seagate, CMR and SMR list on its support pages: 2.5-inch BarraCuda, BarraCuda Compute and Archive models",
	},
	{
		Match: `ST3000DM001`, Words: "fails far more often than others of its age",
		Source: "Backblaze, CSI: Backblaze – Dissecting 3TB Drive Failure, April 2015",
	},
	{
		Match: `Expansion|Backup Plus|My Passport|Elements|easystore|M3 Portable|Canvio|StoreJet`, Kinds: []Kind{USB},
		Words:  "sold for backups: most hold a shingled disk behind a cheap bridge, powered by the plug",
		Source: "a guess: the makers state neither endurance nor writing speed for these",
	},
	{
		Match: `JMS5(39|67|78)|JMicron|ASM105[13]|ASMT ?105`, Kinds: []Kind{USB},
		Words:  "a bridge that is known to reset under load",
		Source: "Linux, drivers/usb/storage/unusual_uas.h and uas-detect.h: exceptions for JMicron and ASMedia bridges",
	},
	{
		Match: `Cruzer|DataTraveler|Ultra Fit|Ultra USB|Flash Drive|Flash Disk|USB DISK|JetFlash`, Kinds: []Kind{USB},
		Words:  "a memory stick: few write cycles, slow random writes",
		Source: "a guess: the makers state no endurance for memory sticks",
	},
	{
		Match: `.*`, Kinds: []Kind{Card}, Words: "a memory card: few write cycles, slow random writes",
		Source: "SD Association, Application Performance Class: class A1 promises 500 random writes a second",
	},
	{
		Match: `Extreme (55AE|SSD|Portable)`, Kinds: []Kind{USB},
		Words:  "some of these lost data before a firmware update",
		Source: "Western Digital, firmware notice for the SanDisk Extreme Portable SSD, 2023", Note: true,
	},
	{
		Match: `980 PRO`, Kinds: []Kind{NVMe},
		Words:  "firmware 3B2QGXA7 wears it out until it can only be read; see that its firmware is newer",
		Source: "Samsung, release of firmware 5B2QGXA7 for the 980 PRO, 2023", Note: true,
	},
})

func compiled(list []Make) []Make {
	for i := range list {
		list[i].pattern = regexp.MustCompile("(?i)" + list[i].Match)
	}
	return list
}

// Makes returns the published table.
func Makes() []Make { return slices.Clone(makes) }

// KnownMake looks a drive up in the table.
func KnownMake(d Drive) (Make, bool) {
	for _, m := range makes {
		if (len(m.Kinds) == 0 || slices.Contains(m.Kinds, d.Kind)) && m.pattern.MatchString(d.Model) {
			return m, true
		}
	}
	return Make{}, false
}
