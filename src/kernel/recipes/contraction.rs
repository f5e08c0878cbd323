//! The one contraction: `C[m, n] (+)= Σ_blocks Σ_k A[m, k] · B[k, n]`, then an epilogue, as a leaf function.
