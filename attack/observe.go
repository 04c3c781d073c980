package attack

// Empty reports whether there is no image in the slot. What passes compute there means
// nothing.
func (s *Slot) Empty() bool { return s.image < 0 }
