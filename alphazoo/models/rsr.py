"""RSR: a stock's LSTM state and the states of the stocks to which typed relations connect it.

Feng et al., "Temporal relational ranking for stock prediction", TOIS 2019.
https://arxiv.org/abs/1809.09441
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alphazoo.bounds import NonNegativeFloat, PositiveInt, Probability
from alphazoo.data.days import DayBatch
from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError, check_choice, shorten
from alphazoo.models.concept_graph import joined_stocks
from alphazoo.models.encoder import Encoder
from alphazoo.models.head import Head
from alphazoo.models.named import NamedModel
from alphazoo.models.probe import Probe


class RSR(NamedModel):
    """A linear head on a stock's state e [H] and the weighted sum of the states of its relations.

    Each concept is a type of relation, which connects its members; one more type connects a stock
    with itself. Let r_ij [C + 1] be the types that connect stocks i and j, 0 or 1 each, and g be
    the strength of a relation. The softmax is over connected stocks::

        g_ij = LeakyReLU(w . r_ij + b)
        explicit:  a_ij = (e_i . e_j) g_ij
        implicit:  a_ij = LeakyReLU(u . e_i + c) + g_ij
        W = softmax of a over i
        score_i = LeakyReLU(head [e_i, sum_j W_ij e_j])

    A stock without concepts reads only itself. The biases b and c of an implicit strength have an
    effect only where the arguments of an activation differ in sign. The yaml follows the authors'
    code, which differs from the paper:

    - It normalises the columns of W (``normalize="columns"``), so that the weights with which
      others read stock j sum to 1; the paper, those with which stock i reads others (``"rows"``).
    - Its implicit strength also has a term of stock j, which has no effect, because the softmax
      over i cancels it; it is left out here. With ``"rows"``, the term of stock i is the one that
      cancels, and the term of stock j takes its place. In the paper, one activation is applied to
      the sum of all terms (``activation="sum"``).
    - Its output has an activation: with 0.2 as slope of negative scores (``output_slope``), where
      the paper has none, a slope of 1. The output there is a price, which is positive; here it is
      the return itself, because features are scaled.
    - It trains with ``loss=mse_pairwise`` on states of an LSTM that was trained before and does not
      change. Here, the LSTM is trained with the rest; ``init_from`` starts from a trained one.

    Weights belong to concepts, so a model is refused for other concepts than those of its training
    run. No tensor is larger than [N, N].

    Args:
        n_features: F, number of features per day.
        n_concepts: C, number of concepts of the data.
        cell: ``"lstm"`` or ``"gru"``.
        hidden_size: H, width of the encoder.
        num_layers: Number of recurrent layers.
        dropout: Dropout rate between the recurrent layers.
        strength: ``"explicit"`` or ``"implicit"``, how states enter the strength of a relation.
        activation: ``"each"`` or ``"sum"``, what the activation of an implicit strength is
            applied to: each of its terms, or their sum.
        normalize: ``"columns"`` or ``"rows"``, which weights sum to 1.
        slope: Negative slope of the leaky ReLU of strengths.
        output_slope: Negative slope of the leaky ReLU of the score; 1 for a linear score.
        lr: Learning rate.
        weight_decay: L2 penalty.

    Attributes:
        names: Names of the concepts, once a data module or a checkpoint has given them.
    """

    names_key = "concepts"
    of_concepts = True

    def __init__(
        self,
        *,
        n_features: PositiveInt,
        n_concepts: int,
        cell: str,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        dropout: Probability,
        strength: str,
        activation: str,
        normalize: str,
        slope: float,
        output_slope: float,
        lr: NonNegativeFloat,
        weight_decay: NonNegativeFloat,
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)
        if n_concepts < 1:
            raise InputError(
                "RSR needs concepts and their number: set data.concepts=FILE (columns symbol and "
                "concept) and model.n_concepts=NUMBER, or data/concepts=correlation to derive "
                "groups from the training days"
            )
        check_choice("model.strength", strength, ("explicit", "implicit"))
        check_choice("model.activation", activation, ("each", "sum"))
        check_choice("model.normalize", normalize, ("columns", "rows"))
        self.encoder = Encoder(
            cell=cell,
            n_features=n_features,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
        )
        self.n_concepts = n_concepts
        self.implicit = strength == "implicit"
        self.together = activation == "sum"
        self.columns = normalize == "columns"
        self.slope = slope
        self.output_slope = output_slope
        self.relation = nn.Linear(n_concepts + 1, 1)  # the last type is a stock and itself
        if self.implicit:
            self.summed = nn.Linear(hidden_size, 1, bias=not self.together)
            if self.together:
                self.fixed = nn.Linear(hidden_size, 1, bias=False)
        # the weights along the last axis sum to 1
        axes = ("other", "stock") if self.columns else ("stock", "other")
        self.attention = Probe("attention", *axes, shares=True)
        self.relations = Probe("concepts", "concept")
        self.head = Head(2 * hidden_size)
        for name, weights in self.named_parameters():
            if name.startswith("encoder."):
                continue
            if name.endswith("bias"):
                nn.init.zeros_(weights)
            else:
                nn.init.xavier_uniform_(weights)

    def forward(self, day: DayBatch) -> Tensor:
        """Return one score per stock of the day, [N]; the stocks are scored jointly.

        Raises:
            InputError: The data have no concepts, or not as many as the model.
        """
        e = self.encoder(day.features)[:, -1]  # [N, H]
        shares = self.attention(self._weigh(e, day))  # [N, N], W or its transpose
        revised = (shares.T if self.columns else shares) @ e
        scores: Tensor = self.head(torch.cat([e, revised], dim=1))
        return F.leaky_relu(scores, self.output_slope).squeeze(-1)

    def _weigh(self, e: Tensor, day: DayBatch) -> Tensor:
        """Return the weights of connected stocks, [N, N]; rows sum to 1.

        A row is that of the stock j that is read if columns of W are normalised, else that of the
        stock i that reads. Relations are mutual, so both cases differ in the meaning of axes only.
        """
        joined, members = joined_stocks(day)
        if members.shape[1] != self.n_concepts:
            raise self._wrong_number(members.shape[1])
        weight, bias = self.relation.weight[0], self.relation.bias
        if self.relations.observed:
            self.relations(F.leaky_relu(weight[:-1] + bias, self.slope))
        itself = torch.eye(members.shape[0], dtype=members.dtype, device=members.device)
        types = (members * weight[:-1]) @ members.T + weight[-1] * itself + bias  # w . r + b
        if not self.implicit:
            logits = (e @ e.T) * F.leaky_relu(types, self.slope)
        elif self.together:
            logits = F.leaky_relu(self.fixed(e) + self.summed(e).T + types, self.slope)
        else:
            own = F.leaky_relu(self.summed(e), self.slope)
            logits = own.T + F.leaky_relu(types, self.slope)
        return logits.masked_fill(~joined, -torch.inf).softmax(dim=1)

    def names_in(self, data: MarketDataModule) -> Sequence[str]:
        """Return the names of the concepts.

        Raises:
            InputError: The data have none, or not as many as the model.
        """
        names = data.concepts.names if data.concepts else ()
        if len(names) != self.n_concepts:
            raise self._wrong_number(len(names))
        return names

    def refuse_names(self, known: Sequence[str], other: Sequence[str]) -> InputError:
        """Return the error for other concepts."""
        differ = shorten(sorted({*known} ^ {*other})) or "only the order"
        return InputError(
            "RSR was trained with other concepts than those of the data, and has a weight for each "
            f"concept; they differ in {differ}"
        )

    def _wrong_number(self, found: int) -> InputError:
        return InputError(
            f"the data have {found} concepts, but model.n_concepts={self.n_concepts}: RSR has a "
            f"weight for each concept; "
            + (f"set model.n_concepts={found}" if found else "set data.concepts=FILE")
        )
