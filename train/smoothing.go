package train

import "github.com/epsball/epsball/net"

// crossEntropy returns that of logits z with the target that gives the label 1 − s and all
// classes s/C each, s being Config.LabelSmoothing and C their number (Szegedy et al. 2016,
// section 7), and writes its gradient into d. It is CE(z, y) + s·(z_y − mean(z)).
func crossEntropy(c *Config, d, z []float32, y int) float32 {
	ce := net.CrossEntropy.Gradient(d, z, y, net.Untargeted)
	s := float32(c.LabelSmoothing)
	if s == 0 {
		return ce
	}
	each := s / float32(len(z))
	var gap float32 // of z_y over the sum of all, class by class: large logits do not cancel
	for j, v := range z {
		gap += z[y] - v
		d[j] -= each
	}
	d[y] += s
	return ce + float32(each*gap)
}
