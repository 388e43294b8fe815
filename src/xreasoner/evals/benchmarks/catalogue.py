"""Every published benchmark by name, with its published size and columns as far as we know them."""

from dataclasses import replace

from xreasoner.evals.benchmarks import mathvista, medical, mmmu, text
from xreasoner.evals.benchmarks.definition import Definition

GSM8K = Definition(
    title="GSM8K",
    modality="text",
    domain="math",
    size=1319,
    columns=("question", "answer"),
    read=text.read_gsm8k,
    hub="openai/gsm8k",
    configs=("main",),
)
MATH_500 = Definition(
    title="MATH-500",
    modality="text",
    domain="math",
    size=500,
    columns=("problem", "answer"),
    read=text.read_math500,
    id_column="unique_id",
    hub="HuggingFaceH4/MATH-500",
)
MMLU_PRO = Definition(
    title="MMLU-Pro",
    modality="text",
    domain="general",
    size=12032,
    columns=("question", "options", "answer", "category"),
    read=text.read_mmlu_pro,
    id_column="question_id",
    hub="TIGER-Lab/MMLU-Pro",
)
GPQA_DIAMOND = Definition(
    title="GPQA-diamond",
    modality="text",
    domain="science",
    size=198,
    columns=("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
    read=text.read_gpqa,
    id_column="Record ID",
    hub="Idavidrein/gpqa",
    configs=("gpqa_diamond",),
    split="train",
)
MEDQA = Definition(
    title="MedQA, 4 options",
    modality="text",
    domain="medicine",
    size=1273,
    columns=("question", "options", "answer_idx"),
    read=text.read_medqa,
    hub="GBaker/MedQA-USMLE-4-options",
    layouts=("**/phrases_no_exclude_test.jsonl",),
)
MEDXPERT_TEXT = Definition(
    title="MedXpertQA Text",
    modality="text",
    domain="medicine",
    size=2450,
    columns=("id", "question", "options", "label"),
    read=medical.read_medxpert,
    hub="TsinghuaC3I/MedXpertQA",
    file="Text/test.jsonl",
)
MMMU = Definition(
    title="MMMU, validation",
    modality="image",
    domain="general",
    size=900,
    columns=("id", "question", "options", "answer", "question_type", "image_1"),
    read=mmmu.read_mmmu,
    hub="MMMU/MMMU",
    configs=mmmu.SUBJECTS,
    split="validation",
)
MMMU_PRO = Definition(
    title="MMMU-Pro, standard, 10 options",
    modality="image",
    domain="general",
    size=1730,
    columns=("id", "question", "options", "answer", "image_1"),
    read=mmmu.read_mmmu,
    hub="MMMU/MMMU_Pro",
    configs=("standard (10 options)",),
)
MATHVISTA = Definition(
    title="MathVista, testmini",
    modality="image",
    domain="math",
    size=1000,
    columns=("question", "image", "choices", "answer", "question_type", "answer_type", "precision"),
    read=mathvista.read_mathvista,
    id_column="pid",
    hub="AI4Math/MathVista",
    split="testmini",
    layouts=("**/testmini-*.parquet", "**/testmini.json"),
)
OMNIMEDVQA = Definition(
    title="OmniMedVQA, open access",
    modality="image",
    domain="medicine",
    size=88996,
    columns=("question_id", "question", "gt_answer", "image_path", "option_A", "option_B"),
    read=medical.read_omnimed,
    id_column="question_id",
    hub=None,
    source="OmniMedVQA.zip of foreverbeliever/OmniMedVQA on the hub, unpacked",
    configs=("QA_information/Open-access",),
)
NEJM = Definition(
    title="NEJM Image Challenge",
    modality="image",
    domain="medicine",
    size=None,
    columns=("question", "options", "answer", "image"),
    read=medical.read_nejm,
    hub=None,
    source="cases you may use as JSONL (question, options, answer, image)",
)
PMC_VQA = Definition(
    title="PMC-VQA, clean test set",
    modality="image",
    domain="medicine",
    size=2000,
    columns=("Figure_path", "Question", "Answer", "Choice A", "Choice B", "Choice C", "Choice D"),
    read=medical.read_pmc,
    id_column="index",
    hub="RadGenome/PMC-VQA",
    file="test_clean.csv",
    archive="images.zip",
)
VQA_RAD = Definition(
    title="VQA-RAD, closed questions",
    modality="image",
    domain="medicine",
    size=251,
    columns=("image", "question", "answer"),
    read=medical.read_closed,
    id_column="qid",
    hub="flaviagiammarino/vqa-rad",
    belongs=medical.is_closed,
    rows=451,
)
SLAKE = Definition(
    title="SLAKE, closed questions in English",
    modality="image",
    domain="medicine",
    size=None,
    columns=("img_name", "question", "answer", "q_lang"),
    read=medical.read_closed,
    id_column="qid",
    hub="BoKelvin/SLAKE",
    belongs=medical.is_closed_english,
    rows=2094,
    file="test.json",
    archive="imgs.zip",
)

BENCHMARKS: dict[str, Definition] = {
    "gsm8k": GSM8K,
    "math-500": MATH_500,
    "mmlu-pro": MMLU_PRO,
    "mmlu-pro-health": replace(
        MMLU_PRO, title="MMLU-Pro, health", domain="medicine", size=818, rows=12032, belongs=text.is_health
    ),
    "gpqa-diamond": GPQA_DIAMOND,
    "medqa": MEDQA,
    "medqa-5": replace(
        MEDQA,
        title="MedQA, 5 options",
        hub=None,
        source="questions/US/test.jsonl of the original release",
        layouts=("questions/US/test.jsonl", "US/test.jsonl", "test.jsonl"),
    ),
    "medxpertqa-text": MEDXPERT_TEXT,
    "mmmu": MMMU,
    "mmmu-health": replace(
        MMMU,
        title="MMMU, health and medicine",
        domain="medicine",
        size=150,
        configs=mmmu.HEALTH,
        belongs=mmmu.is_health,
    ),
    "mmmu-pro": MMMU_PRO,
    "mmmu-pro-4": replace(MMMU_PRO, title="MMMU-Pro, standard, 4 options", configs=("standard (4 options)",)),
    "mmmu-pro-vision": replace(
        MMMU_PRO,
        title="MMMU-Pro, the question in the image",
        columns=("id", "image", "options", "answer"),
        read=mmmu.read_in_picture,
        configs=("vision",),
    ),
    "mmmu-pro-health": replace(
        MMMU_PRO,
        title="MMMU-Pro, health and medicine",
        domain="medicine",
        size=None,
        rows=1730,
        belongs=mmmu.is_health,
    ),
    "mathvista": MATHVISTA,
    "medxpertqa-mm": replace(
        MEDXPERT_TEXT,
        title="MedXpertQA MM",
        modality="image",
        size=2000,
        columns=(*MEDXPERT_TEXT.columns, "images"),
        file="MM/test.jsonl",
        archive="images.zip",
    ),
    "omnimedvqa": OMNIMEDVQA,
    "nejm": NEJM,
    "pmc-vqa": PMC_VQA,
    "vqa-rad": VQA_RAD,
    "slake": SLAKE,
    "pathvqa": replace(
        VQA_RAD, title="PathVQA, closed questions", size=3362, rows=6719, hub="flaviagiammarino/path-vqa"
    ),
}

AVERAGES: dict[str, tuple[str, ...]] = {"mmmu-pro-overall": ("mmmu-pro", "mmmu-pro-vision")}
"""Scores that authors report as the mean over several forms of their benchmark."""
