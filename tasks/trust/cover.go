package trust

// covers reports, of vertices with weights and a graph between them, which are in every cheapest set that has an end of
// every edge, and which are in none. Vertices may be taken by halves, which makes that a question of flow (Nemhauser and
// Trotter, "Vertex packings: structural properties and algorithms", 1975): with two copies of every vertex, an arc from
// each left copy to the right copies of its neighbours, and the weights on both sides, a vertex is in every set exactly
// if its right copy can be reached in what a largest flow leaves over, and in none if its left copy can. Which largest
// flow that is makes no difference.
func covers(weight []int, near [][]int) (every, none []bool) {
	n := len(weight)
	f := &flow{arcs: make([][]arc, 2*n+2)}
	source, sink := 2*n, 2*n+1
	for v := range n {
		f.join(source, v, weight[v])
		f.join(n+v, sink, weight[v])
		for _, o := range near[v] {
			f.join(v, n+o, weight[v])
		}
	}
	for f.layers(source); f.level[sink] >= 0; f.layers(source) {
		f.next = make([]int, len(f.arcs))
		for f.push(source, sink, unlimited) > 0 {
		}
	}
	every, none = make([]bool, n), make([]bool, n)
	for v := range n {
		every[v], none[v] = f.level[n+v] >= 0, f.level[v] >= 0
	}
	return every, none
}

const unlimited = 1 << 60

// flow is a network with what its arcs can still carry (Dinic's algorithm).
type flow struct {
	arcs  [][]arc
	level []int // arcs from the source; -1: out of reach
	next  []int // arc to try next
}

type arc struct {
	to, back int // back is the place of the opposite arc
	room     int
}

func (f *flow) join(from, to, room int) {
	f.arcs[from] = append(f.arcs[from], arc{to, len(f.arcs[to]), room})
	f.arcs[to] = append(f.arcs[to], arc{from, len(f.arcs[from]) - 1, 0})
}

// layers finds how far everything is from the source.
func (f *flow) layers(source int) {
	f.level = make([]int, len(f.arcs))
	for i := range f.level {
		f.level[i] = -1
	}
	f.level[source] = 0
	for list := []int{source}; len(list) > 0; list = list[1:] {
		for _, a := range f.arcs[list[0]] {
			if a.room > 0 && f.level[a.to] < 0 {
				f.level[a.to] = f.level[list[0]] + 1
				list = append(list, a.to)
			}
		}
	}
}

// push sends up to most from a vertex to the sink, a layer at a time, and says how much went.
func (f *flow) push(at, sink, most int) int {
	if at == sink {
		return most
	}
	for ; f.next[at] < len(f.arcs[at]); f.next[at]++ {
		a := &f.arcs[at][f.next[at]]
		if a.room == 0 || f.level[a.to] != f.level[at]+1 {
			continue
		}
		if sent := f.push(a.to, sink, min(most, a.room)); sent > 0 {
			a.room -= sent
			f.arcs[a.to][a.back].room += sent
			return sent
		}
	}
	return 0
}
