"""The book's demos, served on this machine only. Gradio is imported when a demo is built, not before.

serve   start one (`launch`), or show it in a notebook (`show`)
hub     all of them, one tab a chapter (`build_hub`)
cud     chapter 1, Catch-Up Distillation
cenet   chapter 7, keyword spotting with a graph
"""
