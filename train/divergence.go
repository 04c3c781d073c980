package train

import "github.com/epsball/epsball/kernels"

// divergence returns KL(p ‖ q) = Σ p_i·(log p_i − log q_i) for p = softmax(z) and
// q = softmax(w), and writes its gradients to z into dz (unless nil) and to w into
// dw. With ∂log p_i/∂z_j = [i=j] − p_j, and the same of q and w,
//
//	∂KL/∂w_j = −Σ p_i·([i=j] − q_j) = q_j − p_j,
//	∂KL/∂z_j = Σ p_i·([i=j] − p_j)·(log p_i − log q_i) + Σ p_i·([i=j] − p_j)
//	         = p_j·(log p_j − log q_j − KL).
//
// Both sum to zero: the largest p_j's, where the differences would cancel once it
// is near 1, is minus the others' sum. Logarithms come from shifted logits, so none
// is infinite for finite logits. The bits are the same on every platform.
func divergence(dz, dw, z, w []float32) float32 {
	top, zTop, zSum := spread(z)
	_, wTop, wSum := spread(w)
	zLog, wLog := kernels.Log(zSum), kernels.Log(wSum)
	// log p_i − log q_i, each logarithm at most 0.
	ratio := func(i int) float32 { return (z[i] - zTop - zLog) - (w[i] - wTop - wLog) }
	p := func(i int) float32 { return kernels.Exp(z[i]-zTop) / zSum }
	var kl, rest float32
	for i := range z {
		pi := p(i)
		dw[i] = kernels.Exp(w[i]-wTop)/wSum - pi
		if i != top {
			rest += dw[i]
		}
		kl += float32(pi * ratio(i))
	}
	dw[top] = -rest
	kl = max(kl, 0) // the terms' rounding can leave a little less
	if dz == nil {
		return kl
	}
	rest = 0
	for i := range z {
		dz[i] = float32(p(i) * (ratio(i) - kl))
		if i != top {
			rest += dz[i]
		}
	}
	dz[top] = -rest
	return kl
}

// spread returns the largest element, its index, and the sum of e^(v − largest).
func spread(z []float32) (top int, largest, sum float32) {
	for i, v := range z {
		if v > z[top] {
			top = i
		}
	}
	largest = z[top]
	for _, v := range z {
		sum += kernels.Exp(v - largest)
	}
	return top, largest, sum
}
