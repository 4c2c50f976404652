"""What a trained model looks at: attention, concepts, neighbours, attributions; and checks."""

from alphazoo.explain.explanation import Explanation
from alphazoo.explain.show import explain

__all__ = ["Explanation", "explain"]
