package trust

import (
	"math"
	"slices"
)

// What workers say they spent is taken at its word within reason. Reason is the modified z-score (Iglewicz and Hoaglin
// 1993) of the logarithm: 0.6745·(ln x − median)/MAD over what others said of the same work, MAD being the median
// absolute deviation. Above OutlierScore a claim is an outlier. Honest claims that vary as a log-normal do are taken for
// outliers about once in a thousand against 64 others (TestOutliers measures it).
const (
	OutlierScore  = 3.5
	OutlierSample = 16 // claims below which nothing is said
	scale         = 0.6745
	claimFloor    = 10   // milliseconds; what is shorter differs by the clock alone
	spreadFloor   = 0.05 // least MAD: claims that are all alike would make any other one an outlier
)

// Ceiling is the largest claim, in milliseconds, that is no outlier among others' claims; math.MaxInt64 if there are too
// few to say.
func Ceiling(claims []int64) int64 {
	if len(claims) < OutlierSample {
		return math.MaxInt64
	}
	logs := make([]float64, len(claims))
	for i, c := range claims {
		logs[i] = math.Log(float64(max(c, 0) + claimFloor))
	}
	m := medianOf(logs)
	for i := range logs {
		logs[i] = math.Abs(logs[i] - m)
	}
	spread := max(medianOf(logs), spreadFloor)
	top := math.Exp(m+OutlierScore*spread/scale) - claimFloor
	if top >= math.MaxInt64/2 {
		return math.MaxInt64
	}
	return int64(top)
}

// medianOf sorts its argument.
func medianOf(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
