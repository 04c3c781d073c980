package attack

// Empty reports whether there is no image in the slot. What passes compute there means
// nothing.
func (s *Slot) Empty() bool { return s.image < 0 }

// Observer is implemented by passes that want to know what an attack does: Observe is
// called before each Forward with the slots of its blocks. By the time of Backward the slots
// say which of them move.
type Observer interface {
	Observe(slots []Slot)
}
