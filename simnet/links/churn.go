package links

import (
	"math"
	"math/rand/v2"
	"time"
)

// How long volunteers' hosts stay and are away: the fits to all hosts with random availability, taken together, of
// B. Javadi, D. Kondo, J.-M. Vincent and D. P. Anderson, "Discovering Statistical Models of Availability in Large
// Distributed Systems: An Empirical Study of SETI@home", IEEE Transactions on Parallel and Distributed Systems 22(11),
// 2011. Times available follow a Weibull distribution, times unavailable a log-normal one; both in hours. The shape far
// below 1 and the large sigma say that most hosts turn over fast and few stay, or stay away, very long: half the sessions
// are over in 70 minutes and half the absences in 33, while their means are 10.4 and 31.8 hours.
const (
	sessionShape = 0.393
	sessionScale = 2.964  // hours
	absenceMu    = -0.586 // of ln hours
	absenceSigma = 2.844
)

// longest bounds what is drawn: the tail of absences reaches beyond what a Duration holds.
const longest = 100 * 365 * 24 * time.Hour

// Present is the share of hosts that are here at a time picked at random: what the two fits come to, mean session by mean
// session and absence. It is 0.246. That is less than the 0.67 that BOINC's clients reported of themselves (see Awake):
// there the hosts that took part were counted, here those that have gone for months count as well.
var Present = present()

func present() float64 {
	here := sessionScale * math.Gamma(1+1/sessionShape)
	away := math.Exp(absenceMu + absenceSigma*absenceSigma/2)
	return here / (here + away)
}

// Session draws how long a host that comes stays.
func Session(r *rand.Rand) time.Duration {
	return hours(sessionScale * math.Pow(-math.Log(1-r.Float64()), 1/sessionShape))
}

// SessionMedian is how long half of the hosts that come stay at least.
func SessionMedian() time.Duration {
	return hours(sessionScale * math.Pow(math.Ln2, 1/sessionShape))
}

// Absence draws how long a host that goes is away.
func Absence(r *rand.Rand) time.Duration {
	return hours(math.Exp(absenceMu + absenceSigma*r.NormFloat64()))
}

// SessionLeft draws how much longer a host stays that is here when somebody looks. It is not Session: who looks meets a
// session the likelier the longer it is. What is left of it has the density P(session > x)/mean, so that (x/scale)^shape
// follows a gamma distribution of shape 1/shape.
func SessionLeft(r *rand.Rand) time.Duration {
	return hours(sessionScale * math.Pow(gamma(r, 1/sessionShape), 1/sessionShape))
}

// AbsenceLeft draws how much longer a host is away that is not here when somebody looks: an even share of an absence that
// was met by its length, which for a log-normal one moves mu by sigma squared.
func AbsenceLeft(r *rand.Rand) time.Duration {
	met := math.Exp(absenceMu + absenceSigma*absenceSigma + absenceSigma*r.NormFloat64())
	return hours(r.Float64() * met)
}

func hours(h float64) time.Duration {
	if h >= longest.Hours() {
		return longest
	}
	return time.Duration(h * float64(time.Hour))
}

// gamma draws from the gamma distribution of a shape of at least 1 and scale 1: G. Marsaglia and W. W. Tsang, "A Simple
// Method for Generating Gamma Variables", ACM TOMS 26(3), 2000.
func gamma(r *rand.Rand, shape float64) float64 {
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := math.Pow(1+c*x, 3)
		if v > 0 && math.Log(1-r.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// The day of a laptop. Measured are its mean and how deep the night is: clients of 330,000 hosts ran 81 % of the time and
// were on the network 83 % of that (D. P. Anderson and G. Fedak, "The Computational and Storage Potential of Volunteer
// Computing", CCGRID 2006; all hosts, laptops are not told apart), and of a program that runs on people's own computers
// 40 to 50 % fewer were on line at night than at their peak, which lies between late morning and afternoon (S. Guha,
// N. Daswani and R. Jain, "An Experimental Study of the Skype Peer-to-Peer VoIP System", IPTPS 2006; five months, 82
// million data points). Chosen are that the wave between them is a cosine, and the hour of its peak within that span.
const (
	AwakeMean  = 0.81 * 0.83
	awakeNight = 1 - 0.45 // of the peak
	awakePeak  = 14       // o'clock
)

// Awake is the share of laptops of a region that are open at a time, given since midnight UTC.
func Awake(region int, at time.Duration) float64 {
	const swing = (1 - awakeNight) / (1 + awakeNight)
	h := at.Hours() + float64(offsets[region]) - awakePeak
	return AwakeMean * (1 + swing*math.Cos(2*math.Pi*h/24))
}
