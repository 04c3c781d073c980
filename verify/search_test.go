package verify

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSearch: for every edge of every small grid the search ends at the edge, after
// few proofs, each of another point between those it began with.
func TestSearch(t *testing.T) {
	for _, near := range []bool{false, true} {
		for failed := range 40 {
			for proved := -1; proved < failed; proved++ {
				for edge := proved; edge < failed; edge++ {
					s := NewSearch(proved, failed, near)
					asked := map[int]bool{}
					for k, open := s.Next(); open; k, open = s.Next() {
						require.False(t, asked[k], "near %v, %d … %d, edge %d: %d twice", near, proved, failed, edge, k)
						require.Greater(t, k, s.Proved())
						require.Less(t, k, failed)
						asked[k] = true
						s.Tell(k <= edge)
						require.LessOrEqual(t, s.Proved(), edge)
					}
					require.Equal(t, edge, s.Proved())
					require.LessOrEqual(t, len(asked), 11)
				}
			}
		}
	}
}
