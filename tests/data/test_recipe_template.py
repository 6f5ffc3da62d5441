from tunesmith.data.recipe_template import starting_recipe
from tunesmith.recipe import RecipeDraft
from tunesmith.testing.tiny import tiny_rows, write_rows


def test_a_starting_recipe_is_a_whole_recipe_with_comments(tmp_path):
    file = write_rows(tmp_path / "reviews.csv", tiny_rows(20))
    text, chosen = starting_recipe("text-classification", str(file), {})
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = RecipeDraft.read(tmp_path / "recipe.yaml").validate()
    assert chosen == {"text": "text", "label": "label"}
    assert recipe.data.columns == chosen
    assert recipe.data.train == [str(file)]
    assert recipe.output_dir == "runs/reviews"
    assert "# peak learning rate" in text
