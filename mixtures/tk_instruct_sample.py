"""Tk-Instruct in small: some training tasks, and two test tasks of each held-out category.

    tk_instruct_sample_train    72 training tasks
    tk_instruct_sample_test     23 test tasks

Their files are few enough to lie in a folder of their own, and small models train on them in
minutes (gin/recipes/tk_instruct/tiny.gin). A full release has them all, too. Options go behind the
names as behind all others: `tk_instruct_sample_train:pos_2_input`.
"""

from mixtures.tk_instruct import add_equal_mixture
from tasks.natural_instructions import registered_name

TRAIN = (
    "task060_ropes_question_generation",
    "task068_abductivenli_incorrect_answer_generation",
    "task072_abductivenli_answer_generation",
    "task081_piqa_wrong_answer_generation",
    "task093_conala_normalize_lists",
    "task095_conala_max_absolute_value",
    "task105_story_cloze-rocstories_sentence_generation",
    "task122_conala_list_index_addition",
    "task132_dais_text_modification",
    "task151_tomqa_find_location_easy_clean",
    "task181_outcome_extraction",
    "task275_enhanced_wsc_paraphrase_generation",
    "task292_storycommonsense_character_text_generation",
    "task294_storycommonsense_motiv_text_generation",
    "task300_storycloze_order_generation",
    "task344_hybridqa_answer_generation",
    "task382_hybridqa_answer_generation",
    "task389_torque_generate_temporal_question",
    "task413_mickey_en_sentence_perturbation_generation",
    "task454_swag_incorrect_answer_generation",
    "task461_qasper_question_generation",
    "task489_mwsc_question_generation",
    "task565_circa_answer_generation",
    "task589_amazonfood_summary_text_generation",
    "task592_sciq_incorrect_answer_generation",
    "task618_amazonreview_summary_text_generation",
    "task627_xlwic_word_with_same_meaning_sentence_generation",
    "task674_google_wellformed_query_sentence_generation",
    "task770_pawsx_english_text_modification",
    "task821_protoqa_question_generation",
    "task853_hippocorpus_long_text_generation",
    "task859_prost_question_generation",
    "task861_prost_mcq_answers_generation",
    "task863_asdiv_multiop_question_answering",
    "task867_mawps_multiop_question_answering",
    "task874_opus_xhosanavy_sr",
    "task898_freebase_qa_answer_generation",
    "task900_freebase_qa_category_classification",
    "task917_coqa_question_generation",
    "task919_coqa_incorrect_answer_generation",
    "task924_event2mind_word_generation",
    "task927_yelp_negative_to_positive_style_transfer",
    "task934_turk_simplification",
    "task964_librispeech_asr_text_auto_completion",
    "task1146_country_capital",
    "task1293_kilt_tasks_hotpotqa_question_answering",
    "task1317_country_calling_code",
    "task1319_country_by_barcode_prefix",
    "task1325_qa_zre_question_generation_on_subject_relation",
    "task1327_qa_zre_answer_generation_from_question",
    "task1340_msr_text_compression_compression",
    "task1398_obqa_question_generation",
    "task1412_web_questions_question_answering",
    "task1425_country_iso_numeric",
    "task1447_drug_extraction_ade",
    "task1451_drug_dose_extraction",
    "task1453_person_entity_extraction_btc_corpus",
    "task1480_gene_extraction_jnlpba_dataset",
    "task1482_gene_extraction_chemprot_dataset",
    "task1485_organ_extraction_anem_dataset",
    "task1504_hatexplain_answer_generation",
    "task1509_evalution_antonyms",
    "task1518_limit_answer_generation",
    "task1566_propara_structured_text_generation",
    "task1572_samsum_summary",
    "task1580_eqasc-perturbed_question_generation",
    "task1582_bless_hypernym_generation",
    "task1594_yahoo_answers_topics_question_generation",
    "task1600_smcalflow_sentence_generation",
    "task1603_smcalflow_sentence_generation",
    "task1660_super_glue_question_generation",
    "task1704_ljspeech_textmodification",
)

TEST = (
    "task020_mctaco_span_based_question",
    "task033_winogrande_answer_generation",
    "task034_winogrande_question_modification_object",
    "task035_winogrande_question_modification_person",
    "task036_qasc_topic_word_to_generate_related_fact",
    "task039_qasc_find_overlapping_words",
    "task050_multirc_answerability",
    "task102_commongen_sentence_generation",
    "task133_winowhy_reason_plausibility_detection",
    "task190_snli_classification",
    "task199_mnli_classification",
    "task219_rocstories_title_answer_generation",
    "task220_rocstories_title_classification",
    "task281_points_of_correspondence",
    "task362_spolin_yesand_prompt_response_sub_classification",
    "task391_causal_relationship",
    "task392_inverse_causal_relationship",
    "task613_politifact_text_generation",
    "task677_ollie_sentence_answer_generation",
    "task879_schema_guided_dstc8_classification",
    "task1152_bard_analogical_reasoning_causation",
    "task1153_bard_analogical_reasoning_affordance",
    "task1557_jfleg_answer_generation",
)


def _register() -> None:
    for name, tasks in (("train", TRAIN), ("test", TEST)):
        add_equal_mixture(f"tk_instruct_sample_{name}", map(registered_name, tasks))


_register()
