"""Names of weights in the reference implementations, and in the models here."""

RNN = (r"rnn\.(.*)", r"encoder.rnn.\1")
HEAD = (r"fc_out\.(.*)", r"head.\1")
ENCODER = r"transformer_encoder\.layers\.(\d+)\."
TRANSFORMER = [
    (r"feature_layer\.(.*)", r"input.\1"),
    (ENCODER + r"self_attn\.in_proj_(.*)", r"layers.\1.projections.\2"),
    (ENCODER + r"self_attn\.out_proj\.(.*)", r"layers.\1.output.\2"),
    (ENCODER + r"linear1\.(.*)", r"layers.\1.feedforward.0.\2"),
    (ENCODER + r"linear2\.(.*)", r"layers.\1.feedforward.3.\2"),
    (ENCODER + r"(norm[12]\..*)", r"layers.\1.\2"),
    (r"decoder_layer\.(.*)", r"head.\1"),
    (r"encoder_layer\..*|pos_encoder\.pe", ""),  # an unused layer that is only copied; a constant
]

# For each model, names in the state dict of the reference (regular expressions for the whole name)
# and names in ours; an empty name drops a tensor that has no effect. The reference is
# qlib.contrib.model.pytorch_* of pyqlib 0.9.7, except where a comment names another.
NAMES: dict[str, list[tuple[str, str]]] = {
    "LSTM": [RNN, HEAD],
    "GRU": [RNN, HEAD],
    "ALSTM": [
        (r"net\.fc_in\.(.*)", r"input.\1"),
        RNN,
        (r"att_net\.att_fc_in\.(.*)", r"attention.0.\1"),
        (r"att_net\.att_fc_out\.(.*)", r"attention.3.\1"),
        HEAD,
    ],
    "Transformer": TRANSFORMER,
    "Localformer": [
        *TRANSFORMER,
        (r"transformer_encoder\.conv\.(.*)", r"convolutions.\1"),
        RNN,
    ],
    "TCN": [
        (
            r"tcn\.network\.(\d+)\.(conv[12])\.weight_g",
            r"blocks.\1.\2.parametrizations.weight.original0",
        ),
        (
            r"tcn\.network\.(\d+)\.(conv[12])\.weight_v",
            r"blocks.\1.\2.parametrizations.weight.original1",
        ),
        (r"tcn\.network\.(\d+)\.(conv[12]\.bias)", r"blocks.\1.\2"),
        (r"tcn\.network\.(\d+)\.downsample\.(.*)", r"blocks.\1.skip.\2"),
        (r"tcn\.network\.\d+\.net\..*", ""),  # the same convolutions under a second name
        (r"linear\.(.*)", r"head.\1"),
    ],
    "SFM": [  # after _join_gates
        (r"(input\.weight|input\.bias|state\.weight)", r"\1"),
        (r"U_a", "reader"),
        (r"b_a", "reader_bias"),
        (r"output\.weight", "output.weight"),
        (r"b_p", "output.bias"),
        HEAD,
    ],
    "GATs": [
        RNN,
        (r"transformation\.(.*)", r"transform.\1"),
        (r"(source|target)", r"\1"),  # the halves of "a"
        (r"fc\.(.*)", r"output.\1"),
        HEAD,
    ],
    "HIST": [
        RNN,
        (r"fc_es\.(.*)", r"known.info.\1"),
        (r"fc_es_fore\.(.*)", r"known.score.\1"),
        (r"fc_es_back\.(.*)", r"known.explain.\1"),
        (r"fc_is\.(.*)", r"hidden.info.\1"),
        (r"fc_is_fore\.(.*)", r"hidden.score.\1"),
        (r"fc_is_back\.(.*)", r"hidden.explain.\1"),
        (r"fc_indi\.(.*)", r"own.\1"),
        (r"(fc_[ei]s_middle|fc_indi_fore|fc_out_(es|is|indi))\..*", ""),
        HEAD,
    ],
    "IGMTF": [
        RNN,
        (r"lins\.linear0\.(.*)", r"layers.0.\1"),
        (r"lins\.linear1\.(.*)", r"layers.2.\1"),
        (r"project1\.(.*)", r"query.\1"),
        (r"project2\.(.*)", r"key.\1"),
        (r"fc_output\..*", ""),
        (r"fc_out_pred\.(.*)", r"head.\1"),
    ],
    "KRNN": [
        (r"encoder\.cnn_encoder\.conv\.(.*)", r"encoder.convolution.\1"),
        (r"encoder\.krnn_encoder\.rnn_modules\.(.*)", r"encoder.rnns.\1"),
        (r"out_fc\.(.*)", r"head.\1"),
    ],
    "Sandwich": [
        (r"first_encoder\.cnn_encoder\.conv\.(.*)", r"encoder.0.convolution.\1"),
        (r"first_encoder\.krnn_encoder\.rnn_modules\.(.*)", r"encoder.0.rnns.\1"),
        (r"second_encoder\.cnn_encoder\.conv\.(.*)", r"encoder.1.convolution.\1"),
        (r"second_encoder\.krnn_encoder\.rnn_modules\.(.*)", r"encoder.1.rnns.\1"),
        (r"out_fc\.(.*)", r"head.\1"),
    ],
    "TRA": [  # the two networks of its file, under the names that it saves them by
        (r"model\.input_proj\.(.*)", r"input.\1"),
        (r"model\.rnn\.(.*)", r"encoder.rnn.\1"),
        (r"model\.W\.(.*)", r"attention.0.\1"),
        (r"model\.u\.(.*)", r"attention.2.\1"),
        (r"tra\.(predictors|router)\.(.*)", r"\1.\2"),
        (r"tra\.fc\.(.*)", r"choice.\1"),
    ],
    "ADD": [
        (r"enc_excess\.(.*)", r"encoder.rnn.\1"),
        (r"enc_market\.(.*)", r"market_encoder.rnn.\1"),
        (r"dec\.rnn\.(.*)", r"decoder.rnn.\1"),
        (r"dec\.fc\.(.*)", r"decoder.output.\1"),
        *(
            part
            for theirs, ours in (
                ("pred_excess", "head"),
                ("pred_market", "market_head"),
                ("adv_excess", "excess_adversary"),
                ("adv_market", "market_adversary"),
            )
            for part in (
                (rf"{theirs}\.0\.(.*)", rf"{ours}.hidden.\1"),
                (rf"{theirs}\.1\.num_batches_tracked", ""),
                (rf"{theirs}\.1\.(.*)", rf"{ours}.norm.\1"),
                (rf"{theirs}\.3\.(.*)", rf"{ours}.output.\1"),
            )
        ),
    ],
    "MASTER": [  # of github.com/SJTU-DMTai/MASTER, which is built on Qlib
        (r"feature_gate\.trans\.(.*)", r"gate.\1"),
        (r"layers\.0\.(.*)", r"input.\1"),
        (r"layers\.1\.pe", ""),  # a constant
        *(
            part
            for i, block in ((2, "time"), (3, "stocks"))
            for part in (
                (rf"layers\.{i}\.(norm[12]\..*)", rf"{block}.\1"),
                (rf"layers\.{i}\.qtrans\.(.*)", rf"{block}.query.\1"),
                (rf"layers\.{i}\.ktrans\.(.*)", rf"{block}.key.\1"),
                (rf"layers\.{i}\.vtrans\.(.*)", rf"{block}.value.\1"),
                (rf"layers\.{i}\.ffn\.(.*)", rf"{block}.feedforward.\1"),
            )
        ),
        (r"layers\.4\.trans\.(.*)", r"pooling.\1"),
        (r"layers\.5\.(.*)", r"head.\1"),
    ],
}
